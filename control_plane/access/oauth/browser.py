"""Dresses a sign-in by a provider in what browsers understand: redirects, cookies and pages."""

from collections.abc import Mapping
from datetime import timedelta

from fastapi import Response
from fastapi.responses import RedirectResponse

from control_plane.access.landing import landing_url
from control_plane.access.oauth.attempts import LIFETIME, Attempt, AttemptSigner
from control_plane.access.oauth.errors import AttemptInvalid, CodeInvalid
from control_plane.access.oauth.page import error_page
from control_plane.access.oauth.return_urls import ReturnUrl, ReturnUrls, add_query
from control_plane.access.oauth.service import CODE_LIFETIME, CallbackQuery, ProviderSignIn
from control_plane.access.session_cookie import is_cookie_secure, set_session_cookie
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.core.errors import DatanikaError, Invalid
from control_plane.core.vault import Vault
from control_plane.settings import Settings

ATTEMPT_COOKIE = "datanika_oauth"
ATTEMPT_PATH = "/api/auth"
CODE_COOKIE = "datanika_oauth_code"
CODE_PATH = "/login/oauth"
NO_STORE = {"Cache-Control": "no-store"}


class BrowserSignIn:
    """The sign-in of one browser.

    Args:
        door: Decides.
        settings: With the platform's URLs and key.
        cookies: What the browser kept.
    """

    def __init__(
        self, door: ProviderSignIn, settings: Settings, cookies: Mapping[str, str]
    ) -> None:
        self._door = door
        self._settings = settings
        self._cookies = cookies
        self._signer = AttemptSigner(settings.secret_key.get_secret_value())
        self._return_urls = ReturnUrls(settings)

    def start(self, provider: str, return_to: str | None) -> Response:
        """Sends the browser to a provider, with a cookie that it has to bring back."""
        try:
            target = self._return_urls.check(return_to)
            attempt, url = self._door.start(provider, target.url)
        except DatanikaError as error:
            return error_page(error)
        response = RedirectResponse(url, status_code=302, headers=NO_STORE)
        self._keep(response, ATTEMPT_COOKIE, self._signer.sign(attempt), ATTEMPT_PATH, LIFETIME)
        return response

    def finish(self, provider: str, query: CallbackQuery, vault: Vault) -> Response:
        """Sends the browser where the sign-in was started for, with a one-time code or an error."""
        try:
            attempt = self._signer.read(self._cookies.get(ATTEMPT_COOKIE), provider, query.state)
            response = self._finish(
                attempt, self._return_urls.check(attempt.return_to), query, vault
            )
        except (AttemptInvalid, Invalid) as error:
            response = error_page(error)
        response.delete_cookie(ATTEMPT_COOKIE, path=ATTEMPT_PATH)
        return response

    def redeem(self, code: str, next_url: str | None, signer: TokenSigner) -> Response:
        """Gives the browser its session's cookie, where the code was given to this browser."""
        try:
            target = self._return_urls.check(next_url, "/next")
            is_bound = self._signer.is_bound(code, self._cookies.get(CODE_COOKIE))
            if not is_bound or not target.is_own:
                raise CodeInvalid
            done = self._door.redeem(code, signer)
        except DatanikaError as error:
            response: Response = error_page(error)
        else:
            url = landing_url(target.url)
            response = RedirectResponse(url, status_code=303, headers=NO_STORE)
            set_session_cookie(response, self._settings, done.tokens)
        response.delete_cookie(CODE_COOKIE, path=CODE_PATH)
        return response

    def _finish(
        self, attempt: Attempt, target: ReturnUrl, query: CallbackQuery, vault: Vault
    ) -> Response:
        try:
            code = self._door.finish(attempt, query, vault)
        except AttemptInvalid:
            raise
        except DatanikaError as error:
            if target.is_own:
                return error_page(error, target.url)
            url = add_query(target.url, error=error.code)
            return RedirectResponse(url, status_code=303, headers=NO_STORE)
        if not target.is_own:
            url = add_query(target.url, code=code)
            return RedirectResponse(url, status_code=303, headers=NO_STORE)
        url = add_query(CODE_PATH, code=code, next=target.url)
        response = RedirectResponse(url, status_code=303, headers=NO_STORE)
        # Nobody can send another person a link that signs them in as the sender.
        binding = self._signer.bind_code(code)
        self._keep(response, CODE_COOKIE, binding, CODE_PATH, CODE_LIFETIME)
        return response

    def _keep(
        self, response: Response, name: str, value: str, path: str, lifetime: timedelta
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=int(lifetime.total_seconds()),
            path=path,
            httponly=True,
            # Lax: a provider sends the browser back by a link of its own site.
            samesite="lax",
            secure=is_cookie_secure(self._settings),
        )
