"""A warehouse with an owner and a SELECT-only twin, and jobs run as child processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).parents[3]
OWNER_PASSWORD = "canary-owner-5f0e7c"
READER_PASSWORD = "canary-reader-81d2aa"
_numbers = count()


@dataclass
class Warehouse:
    secret: dict[str, Any]
    superuser_dsn: str

    def execute(self, statement: str) -> None:
        config = self.secret["config"]
        with psycopg.connect(
            host=config["host"],
            port=config["port"],
            dbname=config["database"],
            user=config["user"],
            password=config["password"],
            autocommit=True,
        ) as connection:
            connection.execute(statement)

    def rows(self, query: str) -> list[tuple]:
        with psycopg.connect(self.superuser_dsn) as connection:
            return connection.execute(query).fetchall()


@dataclass
class Answer:
    value: Any
    error: dict[str, Any] | None
    logs: list[tuple[str, str]]
    messages: list[dict]
    output: str
    work_dir: Path

    @property
    def results(self) -> dict[str, dict]:
        return {message["dbt"]["unique_id"]: message["dbt"] for message in self.messages}

    @property
    def log_text(self) -> str:
        return "\n".join(message for _, message in self.logs)


class Jobs:
    """Runs job entries in children with a scrubbed environment."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.datanika_dagster.transformations.job_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(directory)},
        )

    def __call__(
        self,
        entry: str,
        payload: dict,
        secrets: dict | None = None,
    ) -> Answer:
        work_dir = self._directory / f"work{next(_numbers)}"
        work_dir.mkdir()
        request = {
            "entry": f"datanika_dagster.transformations.{entry}:run",
            "payload": payload,
            "secrets": secrets or {},
            "work_dir": str(work_dir),
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        status = self._server.stdout.readline().strip()
        output = (work_dir / "output.txt").read_text()
        assert status == "0", output
        answer = json.loads((work_dir / "answer.json").read_text())
        return Answer(**answer, output=output, work_dir=work_dir)

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=10)
        self._server.stdout.close()


@pytest.fixture(scope="session")
def jobs(tmp_path_factory) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    yield jobs
    jobs.close()


@pytest.fixture(scope="module")
def warehouse(postgres_cluster) -> Warehouse:
    number = next(_numbers)
    database, owner, reader = f"w_{number}", f"w_{number}_owner", f"w_{number}_reader"
    with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN PASSWORD '{OWNER_PASSWORD}'")
        connection.execute(f"CREATE ROLE {reader} LOGIN PASSWORD '{READER_PASSWORD}'")
        connection.execute(f"CREATE DATABASE {database} OWNER {owner}")
    superuser_dsn = postgres_cluster.dsn(database)
    with psycopg.connect(superuser_dsn, autocommit=True) as connection:
        for objects in ("SELECT ON TABLES", "USAGE ON SCHEMAS"):
            connection.execute(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT {objects} TO {reader}"
            )
    config = {
        "host": "127.0.0.1",
        "port": postgres_cluster.port,
        "database": database,
        "user": owner,
        "password": OWNER_PASSWORD,
        "readonly_user": reader,
        "readonly_password": READER_PASSWORD,
    }
    return Warehouse({"connector": "managed_warehouse", "config": config}, superuser_dsn)


def project_directory(payload: dict) -> Path:
    """Returns where the project of a build's payload is kept."""
    sha256 = payload["project"]["sha256"]
    return Path(payload["projects_dir"]) / "tenant_7" / "warehouse" / sha256
