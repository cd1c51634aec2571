"""Attacks on signed tokens: each forged or misused one is refused by the REST API and the gateway."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient

from control_plane.access.sessions.service import IssuedTokens, start_session
from control_plane.access.sessions.tokens import Audience, ServiceRole, TokenSigner
from control_plane.core.clock import utc_now
from control_plane.core.errors import Unauthorized

REQUIRED = ("exp", "iat", "sub", "jti", "aud", "iss")


@pytest.fixture
def issued(app, session, member) -> IssuedTokens:
    tokens = start_session(session, app.state.signer, member.user)
    session.commit()
    return tokens


@pytest.fixture
def claims(issued: IssuedTokens) -> dict[str, Any]:
    return jwt.decode(issued.access_token, options={"verify_signature": False})


@pytest.fixture
def key(app) -> str:
    return app.state.settings.secret_key.get_secret_value()


def assert_refused(client: TestClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/api/v1/auth/me", "/internal/v1/session"):
        assert client.get(path, headers=headers).status_code == 401, path
    cookie = {"Cookie": f"datanika_session={token}"}
    assert client.get("/internal/v1/session", headers=cookie).status_code == 401


def test_the_untouched_one_is_accepted(anonymous: TestClient, claims, key):
    """Otherwise every refusal below would prove nothing."""
    token = jwt.encode(claims, key, algorithm="HS256")
    answer = anonymous.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_no_algorithm(anonymous: TestClient, claims, name: str):
    header = encode({"alg": name, "typ": "JWT"})
    assert_refused(anonymous, f"{header}.{encode(claims)}.")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_the_right_key(anonymous, claims, key, algorithm: str):
    # HS512 asks for a longer key, which the refusal must not depend on.
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    content = f"{encode({'alg': algorithm})}.{encode(claims)}"
    signature = hmac.new(key.encode(), content.encode(), digest).digest()
    assert_refused(anonymous, f"{content}.{base64.urlsafe_b64encode(signature).decode()}")


def test_an_asymmetric_signature_and_its_public_key_as_secret(anonymous, claims):
    private = rsa.generate_private_key(65537, 2048)
    assert_refused(anonymous, jwt.encode(claims, private, algorithm="RS256"))
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = f"{encode({'alg': 'HS256'})}.{encode(claims)}"
    signature = hmac.new(pem, content.encode(), hashlib.sha256).digest()
    forged = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    assert_refused(anonymous, f"{content}.{forged}")


@pytest.mark.parametrize("header", [{"jwk": {"kty": "oct", "k": "AA"}}, {"kid": "../../dev/null"}])
def test_a_key_that_the_token_brings_along(anonymous, claims, header: dict):
    token = jwt.encode(claims, "\x00" * 32, algorithm="HS256", headers=header)
    assert_refused(anonymous, token)


@pytest.mark.parametrize("audience", [Audience.SERVICE, "datanika", "", [], None])
def test_another_audience(anonymous, claims, key, audience: object):
    assert_refused(anonymous, jwt.encode({**claims, "aud": audience}, key, algorithm="HS256"))


@pytest.mark.parametrize("claim", [*REQUIRED, "sid"])
def test_a_missing_claim(anonymous, claims, key, claim: str):
    less = {name: value for name, value in claims.items() if name != claim}
    assert_refused(anonymous, jwt.encode(less, key, algorithm="HS256"))


def test_an_expired_one_and_one_of_the_future(anonymous, claims, key):
    for change in (
        {"exp": utc_now() - timedelta(seconds=1)},
        {"nbf": utc_now() + timedelta(minutes=5)},
        {"iat": utc_now() + timedelta(minutes=5)},
    ):
        assert_refused(anonymous, jwt.encode({**claims, **change}, key, algorithm="HS256"))


def test_a_token_of_another_use(app, anonymous, issued: IssuedTokens):
    access, cookie, refresh = issued.access_token, issued.cookie, issued.refresh_token
    assert_refused(anonymous, refresh)
    me = anonymous.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {cookie}"})
    assert me.status_code == 401, "a cookie's token opens no REST route"
    headers = {"Cookie": f"datanika_session={access}"}
    assert anonymous.get("/internal/v1/session", headers=headers).status_code == 401
    answer = anonymous.post("/api/v1/auth/refresh", json={"refresh_token": access})
    assert answer.status_code == 401
    service = app.state.signer.service_token(ServiceRole.SUPERVISOR)
    me = anonymous.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {service}"})
    assert me.status_code == 401


def test_the_cookie_does_not_open_the_rest_api(anonymous: TestClient, issued: IssuedTokens):
    headers = {"Cookie": f"datanika_session={issued.cookie}"}
    assert anonymous.get("/internal/v1/session", headers=headers).status_code == 200
    assert anonymous.get("/api/v1/auth/me", headers=headers).status_code == 401


def test_somebody_elses_session(anonymous, claims, key):
    for change in ({"sub": "1"}, {"sid": 1}, {"sub": "x"}, {"sid": "1; --"}):
        assert_refused(anonymous, jwt.encode({**claims, **change}, key, algorithm="HS256"))


@pytest.mark.parametrize("token", ["", "x.y.z", "..", "a" * 5000, "é.é.é".encode().hex()])
def test_no_token_at_all(anonymous: TestClient, token: str):
    assert_refused(anonymous, token)


def test_only_the_control_planes_service_token_opens_dagster(anonymous, app):
    for role in ServiceRole:
        token = app.state.signer.service_token(role)
        answer = anonymous.get("/internal/v1/session", headers={"Authorization": f"Bearer {token}"})
        expected = 200 if role == ServiceRole.CONTROL_PLANE else 403
        assert answer.status_code == expected, role


def test_a_short_key_signs_nothing():
    with pytest.raises(ValueError, match="32 bytes"):
        TokenSigner("short key")
    forged = jwt.api_jws.encode(b"{}", "k" * 32, algorithm="HS256")
    with pytest.raises(Unauthorized):
        TokenSigner("another key of at least 32 bytes, really").read_service(forged)


def test_audiences_are_distinct():
    assert len(set(Audience)) == len(list(Audience)) == 3


def encode(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
