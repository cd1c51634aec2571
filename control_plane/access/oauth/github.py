"""Sign-in by GitHub: OAuth2 without OpenID Connect, so its API says whose account it is.

https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
"""

from pydantic import BaseModel, TypeAdapter, ValidationError

from control_plane.access.oauth.code_flow import Challenge, ClientRegistration, CodeFlow
from control_plane.access.oauth.errors import ProviderFailed
from control_plane.access.oauth.provider_http import ProviderHttp
from control_plane.access.oauth.providers import Callback, ProviderAccount, ProviderName

TITLE = "GitHub"
SCOPE = "read:user user:email"
API_VERSION = "2022-11-28"


class GitHubUser(BaseModel):
    """`GET /user`; the id stays when the login is renamed."""

    id: int
    login: str
    name: str | None = None


class GitHubEmail(BaseModel):
    """One of `GET /user/emails`."""

    email: str
    primary: bool
    verified: bool


_EMAILS = TypeAdapter(list[GitHubEmail])


class GitHubProvider:
    """The OAuth2 client.

    Args:
        url: GitHub's, or an Enterprise server's.
        api_url: Its API.
        registration: How it knows this platform.
    """

    name = ProviderName.GITHUB
    title = TITLE

    def __init__(self, url: str, api_url: str, registration: ClientRegistration) -> None:
        self._url = url.rstrip("/")
        self._api_url = api_url.rstrip("/")
        self._http = ProviderHttp(TITLE)
        self._flow = CodeFlow(TITLE, self._http, registration, SCOPE)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def authorization_url(self, challenge: Challenge) -> str:
        """Returns where the browser goes to sign in."""
        return self._flow.authorization_url(f"{self._url}/login/oauth/authorize", challenge)

    def fetch_account(self, callback: Callback, challenge: Challenge) -> ProviderAccount:
        """Returns whose account it is, with the primary e-mail address.

        Raises:
            ProviderFailed: GitHub failed or refused the code.
        """
        endpoint = f"{self._url}/login/oauth/access_token"
        token = self._flow.fetch_token(endpoint, callback.code, challenge).get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ProviderFailed("GitHub answered without an access token.")
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": API_VERSION,
        }
        try:
            user = GitHubUser.model_validate(self._http.get_json(f"{self._api_url}/user", headers))
            emails = _EMAILS.validate_python(
                self._http.get_json(f"{self._api_url}/user/emails", headers)
            )
        except ValidationError:
            raise ProviderFailed("GitHub's answer is not understood.") from None
        primary = next((email for email in emails if email.primary), None)
        return ProviderAccount(
            provider=self.name,
            subject=str(user.id),
            email=primary.email if primary else None,
            is_email_verified=primary is not None and primary.verified,
            name=user.name or user.login,
        )
