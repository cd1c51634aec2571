"""Asks the control plane before anything is changed: it authorises, audits and keeps its own rows.

It knows the control plane and what a mutation is about, and nothing of GraphQL.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from datanika_dagster.control_plane_client import ControlPlaneClient, DeclaredIntent
from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_dagster.gateway.errors import FieldRefused
from datanika_dagster.gateway.principal import Principal
from datanika_dagster.gateway.targets import Target

PERSON_HEADERS = {"cookie": "Cookie", "authorization": "X-Person-Authorization"}
"""How a person's session is passed on, beside the gateway's own token."""


class Intents(Protocol):
    """Decides on intents."""

    def declare(
        self, principal: Principal, field: str, targets: list[Target], launches: int
    ) -> list[str]:
        """Returns the ids of the launches that the control plane has noted, one for each run.

        Args:
            principal: Whose intent it is.
            field: The mutation.
            targets: What it is about.
            launches: How many runs it launches.

        Raises:
            FieldRefused: It may not be, or nobody can say.
        """
        ...


@dataclass(frozen=True)
class ControlPlaneIntents:
    """Asks the control plane.

    Attributes:
        control_plane_url: Who is asked.
        service_token: The gateway's own.
    """

    control_plane_url: str
    service_token: SecretStr | None

    def declare(
        self, principal: Principal, field: str, targets: list[Target], launches: int
    ) -> list[str]:
        """Returns the ids of the launches that the control plane has noted.

        Raises:
            FieldRefused: It may not be, or nobody can say.
        """
        intent = DeclaredIntent(
            field=field, targets=[vars(target) for target in targets], launches=launches
        )
        try:
            with ControlPlaneClient(self.control_plane_url, self._headers(principal)) as client:
                return client.declare_intent(principal.org, intent)
        except ControlPlaneRefused as refusal:
            code = refusal.reason_code or "permission.denied"
            raise FieldRefused(refusal.detail, code) from None
        except ControlPlaneUnreachable as error:
            raise FieldRefused(f"Nothing was changed. {error}", error.code) from None

    def _headers(self, principal: Principal) -> dict[str, str]:
        headers = {PERSON_HEADERS[name]: value for name, value in principal.session_key}
        if self.service_token is not None:
            headers["Authorization"] = f"Bearer {self.service_token.get_secret_value()}"
        return headers
