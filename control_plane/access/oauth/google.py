"""Sign-in by Google, or by any OpenID Connect issuer that is put in its place.

https://openid.net/specs/openid-connect-core-1_0.html, section 3.1; discovery and keys are cached
for an hour, and keys fetched once more where a token names one that is not known.
"""

import hmac
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, HttpUrl, TypeAdapter, ValidationError

from control_plane.access.oauth.code_flow import Challenge, ClientRegistration, CodeFlow
from control_plane.access.oauth.errors import ProviderFailed
from control_plane.access.oauth.provider_http import ProviderHttp
from control_plane.access.oauth.providers import Callback, ProviderAccount, ProviderName

TITLE = "Google"
SCOPE = "openid email profile"
# The only algorithm that Google signs with: neither `none` nor a symmetric one is ever tried.
ALGORITHMS = ["RS256"]
CACHE_SECONDS = 3600.0
CLOCK_SKEW_SECONDS = 60
Value = TypeVar("Value")
_URL = TypeAdapter(HttpUrl)


class Discovery(BaseModel):
    """What the issuer says of itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    # RFC 9207: whether every callback names the issuer.
    authorization_response_iss_parameter_supported: bool = False


class _Cached(Generic[Value]):
    """A value that is fetched again when it is older than an hour."""

    def __init__(self, fetch: Callable[[], Value]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._known: tuple[float, Value] | None = None

    def get(self) -> Value:
        """Returns the value, fetched where none is known or it is too old."""
        with self._lock:
            known = self._known
        if known is not None and time.monotonic() - known[0] < CACHE_SECONDS:
            return known[1]
        return self.refresh()

    def refresh(self) -> Value:
        """Fetches the value now; one that cannot be fetched changes nothing."""
        value = self._fetch()
        with self._lock:
            self._known = (time.monotonic(), value)
        return value


class GoogleProvider:
    """The OpenID Connect client.

    Args:
        issuer: The issuer's URL, exactly as its id_tokens name it.
        registration: How the issuer knows this platform.
    """

    name = ProviderName.GOOGLE
    title = TITLE

    def __init__(self, issuer: str, registration: ClientRegistration) -> None:
        self._issuer = issuer
        self._client_id = registration.client_id
        self._http = ProviderHttp(TITLE)
        self._flow = CodeFlow(TITLE, self._http, registration, SCOPE)
        self._discovery = _Cached(self._fetch_discovery)
        self._keys = _Cached(self._fetch_keys)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def authorization_url(self, challenge: Challenge) -> str:
        """Returns where the browser goes to sign in.

        Raises:
            ProviderFailed: The issuer cannot be asked where that is.
        """
        endpoint = self._discovery.get().authorization_endpoint
        return self._flow.authorization_url(endpoint, challenge, nonce=challenge.nonce)

    def fetch_account(self, callback: Callback, challenge: Challenge) -> ProviderAccount:
        """Returns whose account it is, as the issuer signed it.

        Raises:
            ProviderFailed: The issuer failed, or its token is not for this sign-in.
        """
        discovery = self._discovery.get()
        self._check_issuer(callback, discovery)
        token = self._flow.fetch_token(discovery.token_endpoint, callback.code, challenge)
        claims = self._verify(token.get("id_token"), challenge.nonce)
        email, name = claims.get("email"), claims.get("name")
        return ProviderAccount(
            provider=self.name,
            subject=str(claims["sub"]),
            email=email if isinstance(email, str) else None,
            is_email_verified=claims.get("email_verified") is True,
            name=name if isinstance(name, str) else None,
        )

    def _check_issuer(self, callback: Callback, discovery: Discovery) -> None:
        """Refuses another issuer's callback (RFC 9207, section 2.4)."""
        is_needed = discovery.authorization_response_iss_parameter_supported
        if (callback.issuer is not None or is_needed) and callback.issuer != self._issuer:
            raise ProviderFailed("The answer is not from the issuer that was asked.")

    def _verify(self, id_token: object, nonce: str) -> dict[str, Any]:
        if not isinstance(id_token, str):
            raise ProviderFailed("Google answered without an id_token.")
        try:
            claims = self._signed_claims(id_token)
            jwt.JWTClaimsRegistry(
                leeway=CLOCK_SKEW_SECONDS,
                iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._client_id},
                azp={"value": self._client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError):
            raise ProviderFailed("Google's id_token is not valid.") from None
        is_for_others_too = isinstance(claims["aud"], list) and claims["aud"] != [self._client_id]
        received = claims.get("nonce")
        is_of_this_sign_in = isinstance(received, str) and hmac.compare_digest(
            received.encode(), nonce.encode()
        )
        if is_for_others_too or not is_of_this_sign_in:
            raise ProviderFailed("Google's id_token is not for this sign-in.")
        return claims

    def _signed_claims(self, id_token: str) -> dict[str, Any]:
        try:
            return jwt.decode(id_token, self._keys.get(), algorithms=ALGORITHMS).claims
        except InvalidKeyIdError:
            # The issuer may have changed its keys since.
            return jwt.decode(id_token, self._keys.refresh(), algorithms=ALGORITHMS).claims

    def _fetch_discovery(self) -> Discovery:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            discovery = Discovery.model_validate(self._http.get_json(url))
            endpoints = (discovery.authorization_endpoint, discovery.token_endpoint)
            for endpoint in (*endpoints, discovery.jwks_uri):
                _URL.validate_python(endpoint)
                self._check_scheme(endpoint)
        except ValidationError:
            raise ProviderFailed("Google's discovery document is not valid.") from None
        if discovery.issuer != self._issuer:
            raise ProviderFailed("Google's discovery document names another issuer.")
        return discovery

    def _check_scheme(self, endpoint: str) -> None:
        # Only an issuer without TLS, on loopback for instance, may name endpoints without.
        if urlsplit(endpoint).scheme not in ("https", urlsplit(self._issuer).scheme):
            raise ProviderFailed("Google's discovery document names an endpoint without TLS.")

    def _fetch_keys(self) -> KeySet:
        try:
            return KeySet.import_key_set(self._http.get_json(self._discovery.get().jwks_uri))
        except (JoseError, KeyError, TypeError, ValueError):
            raise ProviderFailed("Google's keys cannot be read.") from None
