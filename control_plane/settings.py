"""Settings of the control plane: the only place in it that reads the environment."""

import ipaddress
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from control_plane.key_strength import fernet_key_problem, secret_key_problem
from datanika_manifest.quotas import Quota

HOW_TO_MAKE_ONE = "Make one with `openssl rand -base64 32 | tr '+/' '-_'`."


class KeyProviderKind(StrEnum):
    """Where the key-encryption keys come from."""

    ENVIRONMENT = "environment"
    FILE = "file"
    COMMAND = "command"
    MASTER_PASSWORD = "master_password"  # noqa: S105 - the name of a way, not a password


class SignUpMode(StrEnum):
    """Who may make an account and an org."""

    OPEN = "open"
    CLOSED = "closed"


class Settings(BaseSettings):
    """What the environment says; every variable is documented in `.env.example`."""

    # An error that shows the input would write secrets into the log of a start that fails.
    model_config = SettingsConfigDict(
        env_prefix="DATANIKA_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    public_url: str = Field(
        default="http://127.0.0.1:8700", description="Where people reach the REST API."
    )
    isolation: Literal["users", "namespaces", "none", "unknown"] = Field(
        default="unknown",
        description="How far the operating system keeps jobs apart, as the stack has found out; "
        "`/ready` shows it.",
    )
    database_url: SecretStr = Field(
        description="SQLAlchemy URL of the control-plane database, with the row-level-secured role."
    )
    secret_key: SecretStr = Field(description="Signs tokens; at least 32 random bytes.")
    key_provider: KeyProviderKind = Field(
        default=KeyProviderKind.ENVIRONMENT,
        description="Where the key-encryption keys come from: environment, file, command or "
        "master_password.",
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Comma-separated Fernet keys; the first encrypts, all decrypt. Beside "
        "another provider they only decrypt.",
    )
    encryption_keys_file: Path | None = Field(
        default=None, description="A file with such keys, read again when it changes."
    )
    encryption_keys_command: SecretStr | None = Field(
        default=None,
        description="A command of a secrets manager that prints such keys; run without a shell, "
        "again when a key is missing.",
    )
    key_agent_socket: Path | None = Field(
        default=None,
        description="Unix socket of the key agent, which unlocks every process at once.",
    )
    parallel_runs: int = Field(
        default=10, ge=0, description="Runs that all organizations may have at once."
    )
    org_parallel_runs: int = Field(
        default=4, ge=0, description="Runs that an organization may have at once."
    )
    org_runs_per_hour: int = Field(
        default=1000, ge=0, description="Runs that an organization may start within an hour."
    )
    sign_up: SignUpMode = Field(
        default=SignUpMode.OPEN,
        description="Who may sign up: open (anybody) or closed (by invitation only).",
    )
    failed_logins_per_account: int = Field(
        default=10, ge=1, description="Failed logins of an account in 15 minutes."
    )
    failed_logins_per_address: int = Field(
        default=100, ge=1, description="Failed logins from an address in 15 minutes."
    )
    sign_ups_per_address: int = Field(
        default=20, ge=1, description="Sign-ups from an address in an hour."
    )
    recaptcha_site_key: str | None = Field(
        default=None,
        validation_alias=AliasChoices("RECAPTCHA_SITE_KEY"),
        description="reCAPTCHA v3 on login and sign-up; off without both keys.",
    )
    recaptcha_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("RECAPTCHA_SECRET_KEY"),
        description="Its secret.",
    )
    recaptcha_minimum_score: float = Field(
        default=0.5, ge=0, le=1, description="Below this score a request is refused."
    )
    recaptcha_url: str = Field(
        default="https://www.google.com/recaptcha/api/siteverify",
        description="Where reCAPTCHA tokens are verified.",
    )
    google_client_id: str | None = Field(
        default=None,
        validation_alias=AliasChoices("GOOGLE_CLIENT_ID"),
        description="Sign-in by Google; off without id and secret.",
    )
    google_client_secret: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("GOOGLE_CLIENT_SECRET"), description="Secret."
    )
    google_issuer: str = Field(
        default="https://accounts.google.com",
        description="The OpenID Connect issuer of sign-in by Google.",
    )
    github_client_id: str | None = Field(
        default=None,
        validation_alias=AliasChoices("GITHUB_CLIENT_ID"),
        description="Sign-in by GitHub; off without id and secret.",
    )
    github_client_secret: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("GITHUB_CLIENT_SECRET"), description="Secret."
    )
    github_url: str = Field(
        default="https://github.com", description="GitHub, or a GitHub Enterprise server."
    )
    github_api_url: str = Field(
        default="https://api.github.com", description="Its API; `…/api/v3` on an Enterprise server."
    )
    oauth_return_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Comma-separated URLs that a sign-in by a provider may return to, beside the "
        "platform's own.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Comma-separated networks of the proxies whose X-Forwarded-For is believed.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Comma-separated origins whose pages may call the API."
    )
    maximum_request_bytes: int = Field(
        default=1_048_576, ge=1024, description="The largest request body."
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server: smtp://user:password@host:587 (STARTTLS) or smtps://….",
    )
    smtp_from: str = Field(
        default="datanika@localhost", description="The sender of the platform's mails."
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
    worker_sockets: Path | None = Field(
        default=None, description="Directory of the sockets on which worker hosts listen."
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
    def _strong_secret_key(cls, value: SecretStr) -> SecretStr:
        problem = secret_key_problem(value.get_secret_value())
        if problem is not None:
            raise ValueError(f"DATANIKA_SECRET_KEY {problem}. {HOW_TO_MAKE_ONE}")
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _strong_encryption_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        keys = [key.strip() for key in value.get_secret_value().split(",") if key.strip()]
        problems = [fernet_key_problem(key) for key in keys] or ["must name at least one key"]
        found = next((problem for problem in problems if problem is not None), None)
        if found is not None:
            raise ValueError(f"DATANIKA_ENCRYPTION_KEYS: each {found}. {HOW_TO_MAKE_ONE}")
        return value

    @field_validator("allowed_networks", "trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(name)) for name in _split(value))

    @field_validator("oauth_return_urls", "cors_origins", mode="before")
    @classmethod
    def _urls(cls, value: object) -> tuple[str, ...]:
        urls = _split(value)
        for url in urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
                raise ValueError("must be comma-separated http(s) URLs")
        return urls

    @model_validator(mode="after")
    def _provider_has_its_setting(self) -> "Settings":
        needed = {
            KeyProviderKind.ENVIRONMENT: ("encryption_keys", self.encryption_keys),
            KeyProviderKind.FILE: ("encryption_keys_file", self.encryption_keys_file),
            KeyProviderKind.COMMAND: ("encryption_keys_command", self.encryption_keys_command),
        }
        name, value = needed.get(self.key_provider, ("", True))
        if value is None:
            raise ValueError(f"DATANIKA_{name.upper()} must be set")
        return self

    def quota(self, parallel_runs: int | None = None, runs_per_hour: int | None = None) -> Quota:
        """Returns what an organization may run, with what operators have said of it."""
        own = {"parallel_runs": parallel_runs, "runs_per_hour": runs_per_hour}
        platforms = {
            "parallel_runs": self.org_parallel_runs,
            "runs_per_hour": self.org_runs_per_hour,
        }
        said = {name: value for name, value in own.items() if value is not None}
        return Quota(**(platforms | said))

    def own_endpoints(self) -> list[tuple[str, int]]:
        """Returns host and port of the platform's own services, which no connection may reach."""
        urls = [self.database_url.get_secret_value(), self.control_plane_url, self.dagster_url]
        parts = [urlsplit(url) for url in urls]
        return [(part.hostname, part.port) for part in parts if part.hostname and part.port]

    def encryption_key_list(self) -> tuple[str, ...]:
        """Returns the Fernet keys, the encrypting one first."""
        text = self.encryption_keys.get_secret_value() if self.encryption_keys else ""
        return tuple(key.strip() for key in text.split(",") if key.strip())


class MigrationSettings(BaseSettings):
    """What the migrations need; the web application never has it."""

    model_config = SettingsConfigDict(
        env_prefix="DATANIKA_MIGRATION_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        description="SQLAlchemy URL of the control-plane database, with the role that owns it."
    )


def _split(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise TypeError("must be comma-separated")
    names = [str(part).strip() for part in parts]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return tuple(name for name in names if name)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Returns the process's settings, read once.

    Raises:
        pydantic.ValidationError: A variable is missing or malformed; values are not shown.
    """
    return Settings()  # pyright: ignore[reportCallIssue] - the environment fills the fields
