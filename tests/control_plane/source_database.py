"""A real database to load from, and an org that knows it."""

import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from psycopg import sql

from datanika_stack.postgres import EmbeddedPostgres

SCHEMA = """
create table flights (
  flight_id integer primary key, carrier text not null, distance numeric(8, 2),
  departed_at timestamptz
);
create table planes (tailnum text, year integer);
create view busy_carriers as select carrier, count(*) as flights from flights group by carrier;
create schema sales;
create table sales.orders (order_id bigint, line integer, primary key (order_id, line));
insert into flights values (1, 'UA', 1400.5, now()), (2, 'B6', null, now());
"""


@dataclass
class SourceDatabase:
    """A database of its own on the tests' cluster."""

    cluster: EmbeddedPostgres
    name: str = field(default_factory=lambda: f"source_{secrets.token_hex(4)}")
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    def create(self) -> None:
        """Makes the database, with the tables above, owned by a role of the same name."""
        role, database = sql.Identifier(self.name), sql.Identifier(self.name)
        with psycopg.connect(self.cluster.dsn(), autocommit=True) as admin:
            statement = sql.SQL("create role {} login password {}")
            admin.execute(statement.format(role, sql.Literal(self.password)))
            admin.execute(sql.SQL("create database {} owner {}").format(database, role))
        self.execute(SCHEMA)

    def execute(self, statement: str) -> None:
        """Runs SQL as the owner."""
        dsn = self.cluster.dsn(self.name, self.name, self.password)
        with psycopg.connect(dsn) as connection:
            connection.execute(statement.encode())

    def connection(self, **values: Any) -> dict[str, Any]:
        """Returns the body that makes a connection to it."""
        config = {
            "host": "127.0.0.1",
            "port": self.cluster.port,
            "database": self.name,
            "user": self.name,
            "password": self.password,
            "sslmode": "disable",
        }
        config.update(values.pop("config", {}))
        return {
            "name": "Airline source",
            "connector": "postgres",
            "direction": "source",
            "config": config,
            **values,
        }


def created(api: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Posts to the org and returns the answer's body, which must be a 201."""
    answer = api.post(f"/orgs/{api.org}/{path}", json=body)  # type: ignore[attr-defined]
    assert answer.status_code == 201, answer.text
    return answer.json()


def field_errors(answer: httpx.Response) -> dict[str, str]:
    """Returns the details of a 422 by pointer."""
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
