"""Asks the control plane's internal API, as the supervisor. Knows no resource of it."""

import http.client
import json
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Final

from datanika_stack.errors import ControlPlaneUnavailableError

_TIMEOUT_SECONDS: Final = 3.0
# No proxy of the environment stands between the stack's own processes.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class InternalApi:
    """The internal API of one control plane.

    Attributes:
        control_plane_url: Its base URL.
        token: A service token of the role supervisor.
    """

    control_plane_url: str
    token: str = field(repr=False)

    def get(self, path: str) -> Any:
        """Returns the JSON at a path behind `/internal/v1`.

        Raises:
            ControlPlaneUnavailableError: It does not answer, refuses, or sends something else.
        """
        url = f"{self.control_plane_url.rstrip('/')}/internal/v1{path}"
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http of our own
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ControlPlaneUnavailableError(repr(error)) from error
