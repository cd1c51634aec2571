"""Settings of the execution plane: the only place in it that reads the environment.

Each process is given only the variables it needs (`deploy/`, the run launcher), so nothing here
is required until it is used.
"""

import os
from functools import lru_cache
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from datanika_dagster.errors import SettingMissing

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")


class Settings(BaseSettings):
    """What the environment says; every variable is documented in `.env.example`."""

    model_config = SettingsConfigDict(
        env_prefix="DATANIKA_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(default=Path(".datanika"), description="Where the stack keeps its state.")
    dbt_projects_dir: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("DBT_PROJECTS_DIR", "DATANIKA_DBT_PROJECTS_DIR"),
        description="Where generated dbt projects live; default: `dbt_projects` in the home.",
    )
    dagster_home: Path | None = Field(
        default=None, validation_alias="DAGSTER_HOME", description="Where dagster.yaml is."
    )
    dagster_storage_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL of Dagster's storage (postgresql+psycopg2)."
    )
    dagster_login_key: SecretStr | None = Field(
        default=None, description="Makes the passwords of orgs' logins in Dagster's storage."
    )
    control_plane_url: str = Field(
        default="http://127.0.0.1:8700", description="Where runs reach the control plane."
    )
    public_url: str = Field(
        default="http://127.0.0.1:8700", description="Where people reach the control plane."
    )
    dagster_public_url: str = Field(
        default="http://127.0.0.1:8701/dagster", description="Where people open the Dagster UI."
    )
    org: str | None = Field(default=None, description="The org whose code location this is.")
    manifest: str | None = Field(
        default=None, description="SHA-256 of the manifest to load instead of the current one."
    )
    service_token: SecretStr | None = Field(
        default=None, description="This process's own token for the control plane."
    )
    worker_sockets: Path | None = Field(
        default=None, description="Directory of the sockets on which worker hosts listen."
    )
    worker_uid_base: int = Field(
        default=1_000_000,
        ge=100_000,
        le=2_000_000_000,
        description="The first of the user ids that orgs' runs and jobs have where the stack is root.",
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
    api_key: SecretStr | None = Field(
        default=None, description="An API key with run scope, for runs from a shell."
    )
    api_key_header: str = Field(
        default="X-API-Key",
        validation_alias=AliasChoices("API_KEY_HEADER", "DATANIKA_API_KEY_HEADER"),
        description="The request header that carries an API key.",
    )

    def required_org(self) -> str:
        """Returns the org.

        Raises:
            SettingMissing: DATANIKA_ORG is not set.
        """
        if not self.org:
            raise SettingMissing(
                "DATANIKA_ORG is not set: say whose definitions to load, for example acme."
            )
        return self.org

    def required_dagster_home(self) -> Path:
        """Returns the directory with dagster.yaml.

        Raises:
            SettingMissing: DAGSTER_HOME is not set.
        """
        if self.dagster_home is None:
            raise SettingMissing(
                "DAGSTER_HOME is not set, so nothing of this run would be kept. "
                'Take it from the running stack: eval "$(datanika env)"'
            )
        return self.dagster_home

    def projects_dir(self) -> Path:
        """Returns where generated dbt projects live, as an absolute path."""
        return (self.dbt_projects_dir or self.home / "dbt_projects").absolute()

    def work_dir(self) -> Path:
        """Returns where jobs get their working directories, as an absolute path."""
        return (self.home / "work").absolute()


def read() -> Settings:
    """Returns the settings as the environment has them now."""
    return _read(frozenset(os.environ.items()))  # noqa: TID251


@lru_cache(maxsize=1)
def _read(_environment: frozenset[tuple[str, str]]) -> Settings:
    """Reads an environment once: that takes 10 ms, and a short run asks ten times."""
    return Settings()


def inherited_environment() -> dict[str, str]:
    """Returns the few variables that every process of the execution plane is given."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}  # noqa: TID251
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"} | environment


def replace_environment(variables: dict[str, str]) -> None:
    """Makes these the only variables of this process, right after a fork.

    Unlike those of an `exec` they are in no file that another process can read.
    """
    os.environ.clear()  # noqa: TID251
    os.environ.update(variables)  # noqa: TID251


def drop_from_environment(*names: str) -> None:
    """Removes variables, so that what this process starts does not inherit them."""
    for name in names:
        os.environ.pop(name, None)  # noqa: TID251


def put_into_environment(variables: dict[str, str]) -> None:
    """Sets variables of this process, for engines that take their secrets only from there.

    What is set here was never part of an `exec` and so is in no file that another process can read.
    """
    os.environ.update(variables)  # noqa: TID251
