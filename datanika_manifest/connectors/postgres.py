"""PostgreSQL, given by the user: a source or a destination."""

from collections.abc import Callable
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from datanika_manifest.connectors.base import ConnectorConfig, ConnectorDeclaration, Direction
from datanika_manifest.connectors.certificates import (
    MAXIMUM_CERTIFICATES_CHARACTERS,
    MAXIMUM_KEY_CHARACTERS,
    check_certificates,
    check_key,
)

VERIFYING_MODES = frozenset({"verify-ca", "verify-full"})
# With the others libpq may go on without TLS, and then nobody asks for the client's certificate.
TLS_MODES = VERIFYING_MODES | {"require"}


class PostgresConfig(ConnectorConfig):
    """Settings of a PostgreSQL connection."""

    host: str = Field(min_length=1, max_length=253, description="Host name or address.")
    port: int = Field(default=5432, ge=1, le=65535, description="TCP port.")
    database: str = Field(min_length=1, max_length=63, description="Database name.")
    user: str = Field(min_length=1, max_length=63, description="Role to log in as.")
    password: SecretStr = Field(description="Password of the role.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="TLS mode, as libpq names it."
    )
    ssl_root_certificate: str | None = Field(
        default=None,
        max_length=MAXIMUM_CERTIFICATES_CHARACTERS,
        description="Certificates (PEM) of who may sign the server's; public ones when empty.",
    )
    ssl_client_certificate: str | None = Field(
        default=None,
        max_length=MAXIMUM_CERTIFICATES_CHARACTERS,
        description="Certificate (PEM) that the role shows to the server, with its chain.",
    )
    ssl_client_key: SecretStr | None = Field(
        default=None,
        max_length=MAXIMUM_KEY_CHARACTERS,
        validate_default=True,
        description="Private key (PEM, no passphrase) of the client's certificate.",
    )

    @field_validator("ssl_root_certificate")
    @classmethod
    def _check_root(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("sslmode", "verify-full") not in VERIFYING_MODES:
            raise _wrong("needs sslmode 'verify-full' or 'verify-ca'")
        return _checked(check_certificates, value)

    @field_validator("ssl_client_certificate")
    @classmethod
    def _check_client(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("sslmode", "verify-full") not in TLS_MODES:
            raise _wrong("needs sslmode 'require', 'verify-ca' or 'verify-full'")
        return _checked(check_certificates, value)

    @field_validator("ssl_client_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "ssl_client_certificate" not in info.data:
            return value
        certificate = info.data["ssl_client_certificate"]
        if (value is None) != (certificate is None):
            raise _wrong("goes together with ssl_client_certificate")
        if value is not None:
            _checked(lambda key: check_key(key, certificate), value.get_secret_value())
        return value


def _checked(check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise _wrong(str(error)) from None


def _wrong(reason: str) -> PydanticCustomError:
    return PydanticCustomError("tls_settings", "{reason}", {"reason": reason})


DECLARATION = ConnectorDeclaration(
    kind="postgres",
    title="PostgreSQL",
    config=PostgresConfig,
    directions=frozenset({Direction.SOURCE, Direction.DESTINATION, Direction.BOTH}),
    secrets_follow=frozenset({"host", "port", "user", "sslmode", "ssl_root_certificate"}),
    optional_secrets={"ssl_client_key": "ssl_client_certificate"},
)
