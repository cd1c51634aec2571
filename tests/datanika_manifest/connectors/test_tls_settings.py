"""TLS settings of a connection: what does not fit together is refused by name, never shown."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from pydantic import ValidationError

from datanika_manifest.connectors.postgres import DECLARATION, PostgresConfig
from tests.datanika_dagster.certificates import Authority, Certified, authority, key_pem

BASE = {"host": "h", "database": "d", "user": "u", "password": "p", "sslmode": "verify-full"}


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority("CA")


@pytest.fixture(scope="module")
def client(ca: Authority) -> Certified:
    return ca.issue("etl")


def errors(**config: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        PostgresConfig.model_validate({**BASE, **config})
    found = caught.value.errors(include_input=False)
    for value in config.values():
        for line in str(value).splitlines():
            if len(line) > 20 and not line.startswith("-----"):
                assert line not in str(found)
                assert line not in str(caught.value)
    return {str(error["loc"][0]): error["msg"] for error in found}


def pair(client: Certified, **config: object) -> dict[str, object]:
    given = {"ssl_client_certificate": client.certificate, "ssl_client_key": client.key}
    return {**given, **config}


def test_what_fits_is_taken_and_certificates_are_cleaned(ca, client):
    text = f"Bag Attributes\n  friendlyName: canary\n{ca.pem}\n{ca.pem}# end"
    config = PostgresConfig.model_validate({**BASE, "ssl_root_certificate": text, **pair(client)})
    assert config.ssl_root_certificate == ca.pem * 2
    assert client.key not in repr(config)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "\x00",
        "/etc/passwd",
    ],
)
def test_only_certificates_are_certificates(text):
    assert "certificates in PEM" in errors(ssl_root_certificate=text)["ssl_root_certificate"]


def test_a_key_among_certificates_is_refused(ca, client):
    """It would be shown to everybody who may read the connection."""
    found = errors(ssl_root_certificate=ca.pem + client.key)
    assert "has a private key" in found["ssl_root_certificate"]


def test_the_size_is_bounded(ca):
    assert "65536" in errors(ssl_root_certificate=ca.pem * 200)["ssl_root_certificate"]


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require"])
def test_an_authority_without_verifying_says_what_is_missing(ca, sslmode):
    found = errors(ssl_root_certificate=ca.pem, sslmode=sslmode)
    assert "needs sslmode" in found["ssl_root_certificate"]


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_a_client_certificate_needs_tls(client, sslmode):
    assert "needs sslmode" in errors(**pair(client, sslmode=sslmode))["ssl_client_certificate"]


def test_certificate_and_key_go_together(ca, client):
    assert errors(ssl_client_certificate=client.certificate)["ssl_client_key"]
    assert errors(ssl_client_key=client.key)["ssl_client_key"]
    other = pair(client, ssl_client_key=ca.issue("other").key)
    assert "does not belong" in errors(**other)["ssl_client_key"]


@pytest.mark.parametrize("kind", ["garbage", "encrypted", "long"])
def test_only_a_plain_key_is_a_key(client, kind):
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    text = {"garbage": "canary-key-which-is-none", "encrypted": locked.decode()}
    text["long"] = key_pem(key) * 100
    assert errors(**pair(client, ssl_client_key=text[kind]))["ssl_client_key"]


def test_what_is_stored_shows_without_decrypting(client):
    assert DECLARATION.secrets_stored_with(BASE) == {"password"}
    stored = DECLARATION.secrets_stored_with({"ssl_client_certificate": client.certificate})
    assert stored == {"password", "ssl_client_key"}
