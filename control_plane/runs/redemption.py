"""Uses a task token up and gives what it stands for, to a run over HTTP or to a task of this process.

One transaction: what cannot be given is not used up either. While the platform is sealed the token
lives on, so that who waits can ask again.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.task_tokens.service import extend_token, redeem_token
from control_plane.connections.schemas import Redeemed
from control_plane.core.database import transaction
from control_plane.core.errors import Sealed
from control_plane.core.tasks import Granted, PresentedToken
from control_plane.core.vault import Vault
from control_plane.runs.credentials import connections_of
from control_plane.settings import Settings
from control_plane.tenancy.service import get_organization


@dataclass(frozen=True)
class Redemption:
    """Redeems tokens.

    Attributes:
        factory: Each redemption is a transaction of its own.
        vault: Opens the secrets.
        settings: What connections may reach.
    """

    factory: sessionmaker[Session]
    vault: Vault
    settings: Settings

    def grant(self, token: PresentedToken) -> Granted:
        """Returns what a task of this process may use.

        Raises:
            Unauthorized: Unknown, used before (TaskTokenUsed), expired or revoked.
            Forbidden: Whoever it was made for may not any more, or the connections are gone.
            Sealed: The keys that were given do not open the secrets.
        """
        redeemed = self.redeem(token.text, token.ip_address, token.request_id)
        values = redeemed.model_dump(mode="json")
        networks = {name: values[name] for name in ("allowed_networks", "refused_endpoints")}
        return Granted(values["connections"], networks)

    def redeem(self, token: str, ip_address: str | None, request_id: str | None) -> Redeemed:
        """Exchanges a token, once.

        Args:
            token: As it was presented.
            ip_address: Where the request came from.
            request_id: Ties the audit entry to the request's log lines.

        Raises:
            Unauthorized: Unknown, used before (TaskTokenUsed), expired or revoked.
            Forbidden: Its org, its run or whoever it was made for is not entitled any more.
            Sealed: The keys that were given do not open the secrets; the token is not used up.
        """
        try:
            with transaction(self.factory) as session:
                row = redeem_token(session, token, ip_address=ip_address, request_id=request_id)
                org = get_organization(session, row.org_id)
                return Redeemed(
                    org=org.slug,
                    org_id=org.id,
                    run_id=row.run_id,
                    connections=connections_of(session, self.vault, row),
                    allowed_networks=list(self.settings.allowed_networks),
                    refused_endpoints=self.settings.own_endpoints(),
                )
        except Sealed as error:
            if error.is_retryable:
                extend_token(self.factory, token)
            raise
