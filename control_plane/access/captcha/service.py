"""Verifies reCAPTCHA v3 tokens (https://developers.google.com/recaptcha/docs/verify).

Everything but a clear yes is a no: a timeout, an error, an answer that cannot be read, a low score,
a token of another action. The host name in the answer is not compared: Google compares it with the
site key's domains.
"""

import logging
from enum import StrEnum
from typing import Annotated, cast
from urllib.parse import urlsplit

import httpx
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from control_plane.access.captcha.errors import CaptchaFailed, CaptchaUnavailable
from control_plane.core.trust import public_authorities
from control_plane.settings import Settings

TIMEOUT_SECONDS = 5.0
MAXIMUM_TOKEN_CHARACTERS = 10_000
logger = logging.getLogger(__name__)


class CaptchaAction(StrEnum):
    """What a token was made for; the page names it when it asks for the token."""

    LOGIN = "login"
    SIGN_UP = "signup"


class _Answer(BaseModel):
    success: bool
    score: float = 0.0
    action: str = ""


class Captcha:
    """The captcha of a deployment.

    Args:
        settings: Has both keys, or the captcha is off.
    """

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.recaptcha_secret_key
        self._site_key = settings.recaptcha_site_key
        self._url = settings.recaptcha_url
        self._minimum_score = settings.recaptcha_minimum_score
        # No proxy and no credential of this machine's environment: only the settings count.
        self._http = httpx.Client(
            timeout=TIMEOUT_SECONDS, trust_env=False, verify=public_authorities()
        )

    def __repr__(self) -> str:
        return "Captcha(***)"

    @property
    def site_key(self) -> str | None:
        """The key that pages use; None where the captcha is off."""
        return self._site_key if self._secret is not None and self._site_key else None

    @property
    def script_origin(self) -> str:
        """Where pages load the script from."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}"

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def check(self, token: str | None, action: CaptchaAction, client_address: str | None) -> None:
        """Lets a person pass; does nothing where the captcha is off.

        Args:
            token: What the page got from reCAPTCHA.
            action: What the token must have been made for.
            client_address: Where the request came from.

        Raises:
            CaptchaFailed: No token, or it does not prove a person.
            CaptchaUnavailable: It could not be verified.
        """
        if self.site_key is None or self._secret is None:
            return
        if not token or len(token) > MAXIMUM_TOKEN_CHARACTERS or not token.isascii():
            raise CaptchaFailed("Send the reCAPTCHA token of this page as captcha_token.")
        form = {"secret": self._secret.get_secret_value(), "response": token}
        if client_address is not None:
            form["remoteip"] = client_address
        answer = self._verify(form)
        reason = self._refusal(answer, action)
        if reason is not None:
            logger.info("captcha refused: %s", reason)
            raise CaptchaFailed("The captcha was not passed; reload the page and try again.")

    def _verify(self, form: dict[str, str]) -> _Answer:
        try:
            response = self._http.post(self._url, data=form)
            response.raise_for_status()
            return _Answer.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            # Only the class: a message may repeat what was sent, and the secret was.
            logger.warning("captcha cannot be verified: %s", type(error).__name__)
            raise CaptchaUnavailable(
                "The captcha cannot be verified now; try again later."
            ) from None

    def _refusal(self, answer: _Answer, action: CaptchaAction) -> str | None:
        if not answer.success:
            return "no success"
        if answer.action != action:
            return "another action"
        if not answer.score >= self._minimum_score:  # also refuses NaN
            return "low score"
        return None


async def get_captcha(request: Request) -> Captcha:
    """Returns the application's captcha."""
    return cast("Captcha", request.app.state.captcha)


CaptchaDep = Annotated[Captcha, Depends(get_captcha)]
