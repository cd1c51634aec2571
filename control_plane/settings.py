"""Settings of the control plane: the only place in it that reads the environment."""

import base64
import binascii
import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MINIMUM_SECRET_KEY_BYTES = 32


class Settings(BaseSettings):
    """What the environment says; every variable is documented in `.env.example`."""

    model_config = SettingsConfigDict(env_prefix="DATANIKA_", extra="ignore", frozen=True)

    public_url: str = Field(
        default="http://127.0.0.1:8700", description="Where people reach the REST API."
    )
    database_url: SecretStr = Field(
        description="SQLAlchemy URL of the control-plane database, with the row-level-secured role."
    )
    secret_key: SecretStr = Field(description="Signs tokens; at least 32 bytes.")
    encryption_keys: SecretStr = Field(
        description="Comma-separated Fernet keys; the first encrypts, all decrypt."
    )
    allowed_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Comma-separated networks that connections may reach although refused by default.",
    )
    dbt_projects_dir: Path = Field(
        default=Path(".datanika/dbt_projects"),
        validation_alias=AliasChoices("DBT_PROJECTS_DIR", "DATANIKA_DBT_PROJECTS_DIR"),
        description="Where generated dbt projects live.",
    )
    control_plane_url: str = Field(
        default="http://127.0.0.1:8700", description="Where tasks and runs reach the control plane."
    )
    dagster_url: str = Field(
        default="http://127.0.0.1:8701/dagster", description="Where the control plane asks Dagster."
    )
    dagster_public_url: str = Field(
        default="http://127.0.0.1:8701/dagster", description="Where people open the Dagster UI."
    )
    provisioner_socket: Path | None = Field(
        default=None, description="Unix socket of the warehouse provisioner."
    )
    service_token: SecretStr | None = Field(
        default=None, description="This process's own token for Dagster."
    )
    api_key_header: str = Field(
        default="X-API-Key",
        validation_alias=AliasChoices("API_KEY_HEADER", "DATANIKA_API_KEY_HEADER"),
        description="The request header that carries an API key.",
    )
    worker_heartbeat: Path | None = Field(
        default=None, description="A file that the worker touches while it works."
    )
    operator_email: str | None = Field(
        default=None, description="The first platform operator, made by the bootstrap command."
    )
    operator_password: SecretStr | None = Field(default=None, description="Its password.")

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value().encode()) < MINIMUM_SECRET_KEY_BYTES:
            raise ValueError(f"must have at least {MINIMUM_SECRET_KEY_BYTES} bytes")
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _fernet_keys(cls, value: SecretStr) -> SecretStr:
        keys = [key.strip() for key in value.get_secret_value().split(",") if key.strip()]
        if not keys or not all(_is_fernet_key(key) for key in keys):
            raise ValueError("must be comma-separated Fernet keys (32 bytes, URL-safe base64)")
        return value

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise TypeError("must be comma-separated networks such as 10.0.0.0/8")
        names = [str(part).strip() for part in parts]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return tuple(str(ipaddress.ip_network(name)) for name in names if name)

    def own_endpoints(self) -> list[tuple[str, int]]:
        """Returns host and port of the platform's own services, which no connection may reach."""
        urls = [self.database_url.get_secret_value(), self.control_plane_url, self.dagster_url]
        parts = [urlsplit(url) for url in urls]
        return [(part.hostname, part.port) for part in parts if part.hostname and part.port]

    def encryption_key_list(self) -> tuple[str, ...]:
        """Returns the Fernet keys, the encrypting one first."""
        text = self.encryption_keys.get_secret_value()
        return tuple(key.strip() for key in text.split(",") if key.strip())


class MigrationSettings(BaseSettings):
    """What the migrations need; the web application never has it."""

    model_config = SettingsConfigDict(env_prefix="DATANIKA_MIGRATION_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        description="SQLAlchemy URL of the control-plane database, with the role that owns it."
    )


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except (binascii.Error, ValueError):
        return False


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Returns the process's settings, read once.

    Raises:
        pydantic.ValidationError: A variable is missing or malformed; values are not shown.
    """
    return Settings()  # pyright: ignore[reportCallIssue] - the environment fills the fields
