"""A Dagster home on PostgreSQL, with the instance file that the product ships."""

import secrets
import shutil
from pathlib import Path
from urllib.parse import quote

import psycopg

import datanika_dagster
from datanika_stack.postgres import EmbeddedPostgres

TEMPLATE = Path(datanika_dagster.__file__).parent / "dagster.yaml"


def create_storage(cluster: EmbeddedPostgres) -> str:
    """Creates an empty database with a role of its own and returns its SQLAlchemy URL."""
    name, password = f"dagster_{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    return f"postgresql+psycopg2://{name}:{quote(password)}@127.0.0.1:{cluster.port}/{name}"


def create_home(directory: Path) -> Path:
    home = directory / "dagster"
    home.mkdir()
    shutil.copy(TEMPLATE, home / "dagster.yaml")
    return home
