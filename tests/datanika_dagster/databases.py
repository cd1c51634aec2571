"""Source and destination databases for tests of what runs in a job child."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from datanika_stack.postgres import EmbeddedPostgres

LOOPBACK = ["127.0.0.0/8"]


@dataclass(frozen=True)
class Database:
    """An empty database of its own in a cluster."""

    cluster: EmbeddedPostgres
    name: str

    @property
    def config(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.cluster.port,
            "database": self.name,
            "user": "postgres",
            "password": self.cluster.superuser_password,
        }

    @property
    def secret(self) -> dict[str, Any]:
        return {"connector": "postgres", "config": self.config}

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.cluster.dsn(self.name), autocommit=True)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query, values or None).fetchall()

    def value(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]


@contextmanager
def new_database(cluster: EmbeddedPostgres) -> Iterator[Database]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(cluster.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield Database(cluster, name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass
class RecordingJob:
    """The channel of a job, kept in memory."""

    work_dir: Path
    logs: list[tuple[str, str]] = field(default_factory=list)
    materializations: dict[tuple[str, ...], Mapping[str, Any]] = field(default_factory=dict)

    def log(self, level: str, message: str) -> None:
        self.logs.append((level, message))

    def materialized(
        self, asset_key: list[str], metadata: Mapping[str, Any], data_version: str | None = None
    ) -> None:
        key = tuple(asset_key)
        assert key not in self.materializations
        self.materializations[key] = metadata

    @property
    def text(self) -> str:
        return "\n".join(message for _, message in self.logs)
