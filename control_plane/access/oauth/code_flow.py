"""The authorization code flow with PKCE (RFC 6749, RFC 7636), by authlib over our own HTTP.

authlib's integration with httpx is left out: it takes whichever of two HTTP libraries is installed,
reads answers of any size and would keep cookies.
"""

from dataclasses import dataclass
from typing import Any

import httpx
from authlib.oauth2.base import OAuth2Error  # pyright: ignore[reportMissingTypeStubs]
from authlib.oauth2.client import OAuth2Client  # pyright: ignore[reportMissingTypeStubs]
from pydantic import SecretStr

from control_plane.access.oauth.errors import ProviderFailed
from control_plane.access.oauth.provider_http import ProviderHttp


@dataclass(frozen=True)
class Challenge:
    """What ties a provider's answers to one sign-in.

    Attributes:
        state: Comes back with the callback.
        nonce: Comes back inside the id_token (OpenID Connect).
        code_verifier: Proves to the token endpoint that the code is redeemed by who asked for it.
    """

    state: str
    nonce: str
    code_verifier: str


@dataclass(frozen=True)
class ClientRegistration:
    """How the provider knows this platform.

    Attributes:
        client_id: Public.
        client_secret: Proves at the token endpoint who asks.
        redirect_uri: Registered at the provider; each provider has its own.
    """

    client_id: str
    client_secret: SecretStr
    redirect_uri: str


class CodeFlow:
    """The flow at one provider.

    Args:
        title: What people call the provider.
        http: The way to it.
        registration: How it knows this platform.
        scope: What is asked for, separated by spaces.
    """

    def __init__(
        self, title: str, http: ProviderHttp, registration: ClientRegistration, scope: str
    ) -> None:
        self._title = title
        self._http = http
        self._registration = registration
        self._scope = scope

    def authorization_url(self, endpoint: str, challenge: Challenge, **more: str) -> str:
        """Returns where the browser goes to sign in."""
        url, _ = self._client().create_authorization_url(
            endpoint, state=challenge.state, code_verifier=challenge.code_verifier, **more
        )
        return str(url)

    def fetch_token(self, endpoint: str, code: str, challenge: Challenge) -> dict[str, Any]:
        """Exchanges the provider's code for its token answer.

        Raises:
            ProviderFailed: The provider refused the code or did not answer well.
            Throttled: Too many sign-ins wait for the provider.
        """
        try:
            return dict(
                self._client().fetch_token(
                    endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=challenge.code_verifier,
                )
            )
        # authlib raises ValueError for an answer that is not an object, and for an error whose
        # description has characters that RFC 6749 does not allow. Neither text is for people.
        except (OAuth2Error, httpx.HTTPStatusError, ValueError):
            raise ProviderFailed(f"{self._title} did not accept the sign-in; try again.") from None

    def _client(self) -> Any:
        # One for each use: it keeps the token that it has fetched.
        return OAuth2Client(
            session=self._http,
            client_id=self._registration.client_id,
            client_secret=self._registration.client_secret.get_secret_value(),
            token_endpoint_auth_method="client_secret_post",  # noqa: S106 - a method's name
            scope=self._scope,
            redirect_uri=self._registration.redirect_uri,
            code_challenge_method="S256",
        )
