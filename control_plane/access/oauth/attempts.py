"""A sign-in under way, kept by the browser that started it in a signed cookie.

So the callback works in no other browser, and nothing has to be stored for sign-ins that nobody
finishes. The cookie is signed, not encrypted: what it holds is no secret from its own browser.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from control_plane.access.oauth.code_flow import Challenge
from control_plane.access.oauth.errors import AttemptInvalid
from control_plane.access.oauth.providers import ProviderName
from control_plane.core.clock import utc_now
from control_plane.core.tokens import hash_token

LIFETIME = timedelta(minutes=10)
# Each use has a key of its own: what is signed for one means nothing to the other.
ATTEMPT_KEY_LABEL = b"datanika oauth attempt 1"
CODE_KEY_LABEL = b"datanika oauth code 1"
MAXIMUM_COOKIE_CHARACTERS = 4000


@dataclass(frozen=True)
class Attempt:
    """One sign-in from its start to its callback.

    Attributes:
        provider: Where it was started; a callback of another provider is not for it.
        state: Comes back with the callback.
        nonce: Comes back inside an id_token.
        code_verifier: PKCE's (RFC 7636): 43 characters at least.
        return_to: Where the browser goes afterwards; checked when the sign-in was started.
        expires_at: Seconds since 1970.
    """

    provider: ProviderName
    state: str
    nonce: str
    code_verifier: str
    return_to: str
    expires_at: int

    @property
    def challenge(self) -> Challenge:
        """What ties the provider's answers to this attempt."""
        return Challenge(self.state, self.nonce, self.code_verifier)

    @property
    def state_hash(self) -> str:
        """Under which the finished attempt is stored."""
        return hash_token(self.state)


_ATTEMPT = TypeAdapter(Attempt)


def start_attempt(provider: ProviderName, return_to: str) -> Attempt:
    """Returns a new attempt with fresh random values."""
    return Attempt(
        provider=provider,
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        code_verifier=secrets.token_urlsafe(48),
        return_to=return_to,
        expires_at=int((utc_now() + LIFETIME).timestamp()),
    )


class AttemptSigner:
    """Signs and checks what browsers keep.

    Args:
        secret_key: The platform's; only keys that are derived from it are used.
    """

    def __init__(self, secret_key: str) -> None:
        self._attempt_key = _derive(secret_key, ATTEMPT_KEY_LABEL)
        self._code_key = _derive(secret_key, CODE_KEY_LABEL)

    def __repr__(self) -> str:
        return "AttemptSigner(***)"

    def sign(self, attempt: Attempt) -> str:
        """Returns the cookie's value."""
        body = _encode(_ATTEMPT.dump_json(attempt))
        return f"{body}.{_encode(_mac(self._attempt_key, body))}"

    def read(self, cookie: str | None, provider: str, state: str | None) -> Attempt:
        """Returns the attempt that a callback finishes.

        Args:
            cookie: What the browser kept.
            provider: Whose callback it is.
            state: What the callback brought.

        Raises:
            AttemptInvalid: There is none, it was changed, is too old, or is another's.
        """
        attempt = self._verified(cookie or "")
        is_same_state = hmac.compare_digest(attempt.state.encode(), (state or "").encode())
        if not is_same_state or attempt.provider != provider:
            raise AttemptInvalid
        return attempt

    def bind_code(self, code: str) -> str:
        """Returns what the browser keeps beside a one-time code: only there it can be used."""
        return _encode(_mac(self._code_key, code))

    def is_bound(self, code: str, cookie: str | None) -> bool:
        """Tells whether this browser is the one that the code was given to."""
        return hmac.compare_digest(self.bind_code(code).encode(), (cookie or "").encode())

    def _verified(self, cookie: str) -> Attempt:
        body, _, signature = cookie.partition(".")
        expected = _encode(_mac(self._attempt_key, body))
        is_genuine = hmac.compare_digest(expected.encode(), signature.encode())
        if not is_genuine or len(cookie) > MAXIMUM_COOKIE_CHARACTERS:
            raise AttemptInvalid
        try:
            attempt = _ATTEMPT.validate_json(base64.urlsafe_b64decode(body + "=="))
        except (binascii.Error, ValidationError):
            raise AttemptInvalid from None
        if utc_now().timestamp() >= attempt.expires_at:
            raise AttemptInvalid
        return attempt


def _derive(secret_key: str, label: bytes) -> bytes:
    return hmac.digest(secret_key.encode(), label, hashlib.sha256)


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
