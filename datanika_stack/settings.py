"""Settings of the command line and the stack: the only place in this package that reads the environment."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

# What of the environment of `up` the control plane and its worker take over as it is. Everything else
# that they read is the stack's to say; a test compares both with the control plane's own settings.
CONTROL_PLANE_VARIABLES: Final = (
    "DATANIKA_KEY_PROVIDER",
    "DATANIKA_ENCRYPTION_KEYS_FILE",
    "DATANIKA_ENCRYPTION_KEYS_COMMAND",
    "DATANIKA_PARALLEL_RUNS",
    "DATANIKA_ORG_PARALLEL_RUNS",
    "DATANIKA_ORG_RUNS_PER_HOUR",
    "DATANIKA_SIGN_UP",
    "DATANIKA_FAILED_LOGINS_PER_ACCOUNT",
    "DATANIKA_FAILED_LOGINS_PER_ADDRESS",
    "DATANIKA_SIGN_UPS_PER_ADDRESS",
    "RECAPTCHA_SITE_KEY",
    "RECAPTCHA_SECRET_KEY",
    "DATANIKA_RECAPTCHA_MINIMUM_SCORE",
    "DATANIKA_RECAPTCHA_URL",
    "GOOGLE_CLIENT_ID",
    "GOOGLE_CLIENT_SECRET",
    "DATANIKA_GOOGLE_ISSUER",
    "GITHUB_CLIENT_ID",
    "GITHUB_CLIENT_SECRET",
    "DATANIKA_GITHUB_URL",
    "DATANIKA_GITHUB_API_URL",
    "DATANIKA_OAUTH_RETURN_URLS",
    "DATANIKA_TRUSTED_PROXIES",
    "DATANIKA_CORS_ORIGINS",
    "DATANIKA_MAXIMUM_REQUEST_BYTES",
    "DATANIKA_SMTP_URL",
    "DATANIKA_SMTP_FROM",
)


def control_plane_variables() -> dict[str, str]:
    """Returns what of this environment the control plane takes over; an empty value is none."""
    given = {name: os.environ.get(name, "") for name in CONTROL_PLANE_VARIABLES}  # noqa: TID251
    return {name: value for name, value in given.items() if value}


class ClientSettings(BaseSettings):
    """What commands that speak to the REST API take from the environment.

    `DATANIKA_ORG` and `DATANIKA_API_URL` are options of each command with the same defaults.
    """

    model_config = SettingsConfigDict(
        env_prefix="DATANIKA_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(
        default=Path(".datanika"), description="Where a local stack keeps its state."
    )
    api_key: SecretStr | None = Field(
        default=None, description="API key that commands use instead of a login."
    )
    api_key_header: str = Field(
        default="X-API-Key",
        validation_alias=AliasChoices("API_KEY_HEADER", "DATANIKA_API_KEY_HEADER"),
        description="The request header that carries an API key.",
    )


class StackSettings(BaseSettings):
    """What `up`, `migrate`, `provisioner` and `code-servers` take from the environment.

    A stack on one machine needs none of it: it generates its secrets and runs its own PostgreSQL.
    """

    model_config = SettingsConfigDict(
        env_prefix="DATANIKA_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(default=Path(".datanika"), description="Where the stack keeps its state.")
    public_url: str | None = Field(
        default=None, description="Where people reach the REST API; default: this machine."
    )
    dagster_public_url: str | None = Field(
        default=None, description="Where people open the Dagster UI; default: this machine."
    )
    allowed_networks: str = Field(
        default="", description="Networks that connections may reach although refused by default."
    )
    dbt_projects_dir: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("DBT_PROJECTS_DIR", "DATANIKA_DBT_PROJECTS_DIR"),
        description="Where generated dbt projects live; default `$DATANIKA_HOME/dbt_projects`.",
    )
    api_key_header: str = Field(
        default="X-API-Key",
        validation_alias=AliasChoices("API_KEY_HEADER", "DATANIKA_API_KEY_HEADER"),
        description="The request header that carries an API key.",
    )
    operator_email: str = Field(
        default="operator@datanika.example", description="The first platform operator."
    )
    operator_password: SecretStr | None = Field(
        default=None, description="Its password; generated where it is not given."
    )
    admin_database_url: SecretStr | None = Field(
        default=None, description="A superuser of an external PostgreSQL; only `migrate` needs it."
    )
    database_url: SecretStr | None = Field(
        default=None, description="Control plane; setting it makes `up` use that PostgreSQL."
    )
    migration_database_url: SecretStr | None = Field(
        default=None, description="The same database with the role that owns it."
    )
    provisioner_database_url: SecretStr | None = Field(
        default=None, description="The PostgreSQL that holds the warehouses, as its provisioner."
    )
    dagster_storage_url: SecretStr | None = Field(
        default=None, description="Dagster's own storage; `postgresql+psycopg2://…`."
    )
    dagster_login_key: SecretStr | None = Field(
        default=None, description="Makes the passwords of orgs' logins in Dagster's storage."
    )
    warehouse_name_key: SecretStr | None = Field(
        default=None, description="Makes the opaque names of warehouses; must never change."
    )
    secret_key: SecretStr | None = Field(default=None, description="Signs tokens; ≥ 32 bytes.")
    encryption_keys: SecretStr | None = Field(
        default=None, description="Comma-separated Fernet keys, the first encrypts."
    )
    control_plane_url: str | None = Field(
        default=None, description="Where processes of the execution plane reach the control plane."
    )
    provisioner_socket: Path | None = Field(
        default=None, description="Unix socket of the provisioner."
    )
    logins_socket: Path | None = Field(
        default=None, description="Unix socket where orgs' logins in Dagster's storage are made."
    )
    key_agent_socket: Path | None = Field(default=None, description="Unix socket of the key agent.")
    service_token: SecretStr | None = Field(
        default=None, description="Token of the role supervisor, where DATANIKA_SECRET_KEY is not."
    )
    code_server_socket_dir: Path | None = Field(
        default=None, description="Where code servers listen; shared by webserver and daemon."
    )
    worker_sockets: Path | None = Field(
        default=None,
        description="Where worker hosts listen; `datanika workers` looks there. Default: the home's.",
    )
    code_server_idle_minutes: float = Field(
        default=15,
        ge=0,
        description="How long after its last use an org's code server sleeps; 0: never.",
    )
    worker_uid_base: int = Field(
        default=1_000_000,
        ge=100_000,
        le=2_000_000_000,
        description="The first user id of the orgs' own processes, where the stack is root.",
    )
    step_log_lines: int = Field(
        default=10_000, ge=100, description="So many lines of what a step's job logs are kept."
    )
    step_log_bytes: int = Field(
        default=10 << 20,
        ge=1 << 16,
        description="So many bytes of what a step's job logs are kept.",
    )
    run_days: float = Field(
        default=365, ge=0, description="How long runs are kept after their end; 0: for ever."
    )
    run_log_days: float = Field(
        default=90, ge=0, description="How long the output of runs is kept; 0: for ever."
    )
    run_log_gigabytes: float = Field(
        default=10, ge=0, description="How much the output of all runs may take; 0: no limit."
    )
    dagster_home: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("DAGSTER_HOME"),
        description="The Dagster instance's directory; default `$DATANIKA_HOME/dagster`.",
    )

    @property
    def code_server_idle(self) -> timedelta:
        """How long after its last use an org's code server sleeps; zero: never."""
        return timedelta(minutes=self.code_server_idle_minutes)


class InheritedEnvironment(BaseSettings):
    """The few variables that every process of the stack takes over from whoever starts it."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    path: str = Field(default="/usr/local/bin:/usr/bin:/bin", validation_alias="PATH")
    lang: str = Field(default="C.UTF-8", validation_alias="LANG")
    home: str = Field(default="/", validation_alias="HOME")
    tmpdir: str | None = Field(default=None, validation_alias="TMPDIR")
    runtime_dir: Path | None = Field(default=None, validation_alias="XDG_RUNTIME_DIR")
