"""A Dagster home on PostgreSQL, with the instance file that the product ships."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg

import datanika_dagster
from datanika_stack.postgres import EmbeddedPostgres

TEMPLATE = Path(datanika_dagster.__file__).parent / "dagster.yaml"


@dataclass(frozen=True)
class DagsterHome:
    """Where an instance is, and the environment that its processes need."""

    path: Path
    storage_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DAGSTER_HOME": str(self.path),
            "DATANIKA_DAGSTER_STORAGE_URL": self.storage_url,
            "DATANIKA_HOME": str(self.path.parent),
        }

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.path)) as instance:
            yield instance


def create_storage(cluster: EmbeddedPostgres) -> str:
    """Creates an empty database with a role of its own and returns its SQLAlchemy URL."""
    name, password = f"dagster_{secrets.token_hex(4)}", secrets.token_hex(12)
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
    return cluster.url(name, name, password, driver="psycopg2")


def create_home(directory: Path, cluster: EmbeddedPostgres) -> DagsterHome:
    home = directory / "dagster"
    home.mkdir()
    shutil.copy(TEMPLATE, home / "dagster.yaml")
    return DagsterHome(home, create_storage(cluster))
