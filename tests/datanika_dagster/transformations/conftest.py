"""A warehouse with an owner and a SELECT-only twin, and jobs run as child processes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
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


@dataclass
class Jobs:
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, entry: str, payload: dict, secrets: dict | None = None) -> Answer:
        work_dir = self.directory / f"work{next(_numbers)}"
        work_dir.mkdir(parents=True)
        request = {
            "entry": f"datanika_dagster.transformations.{entry}:run",
            "payload": payload,
            "secrets": secrets or {},
            "work_dir": str(work_dir),
        }
        process = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("job_process.py"))],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "LANG": "C.UTF-8",
                "HOME": str(work_dir),
                "TMPDIR": str(work_dir),
                "PYTHONPATH": str(ROOT),
                **self.environment,
            },
            timeout=120,
            check=False,
        )
        output = process.stdout + process.stderr
        assert process.returncode == 0, output
        answer = json.loads((work_dir / "answer.json").read_text())
        return Answer(**answer, output=output, work_dir=work_dir)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> Jobs:
    return Jobs(tmp_path_factory.mktemp("jobs"))


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
