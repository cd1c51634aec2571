"""The org that benchmarks launch runs in: the demo's, with a small load and a small model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console

from benchmarks.workspace import BenchmarkError
from datanika_stack.api_client import ApiClient
from datanika_stack.demo import airline, definitions
from datanika_stack.demo.display import Display
from datanika_stack.demo.journey import Journey, Person
from datanika_stack.demo.local_stack import LocalStack

ROWS = 1000
UPLOAD = "A thousand rows"
TABLE = "thousand"
MODEL = "thousand_total"
SCHEMA = "bench"
_TABLE_DEFINITION = """
CREATE TABLE IF NOT EXISTS {} AS
SELECT number AS id, number * 1.01 AS amount, 'row ' || number AS name
FROM generate_series(1, {}) AS number
"""


@dataclass(frozen=True)
class BenchOrg:
    """An org with something to launch.

    Attributes:
        journey: Its owner's, signed in.
        source_id: The connection that is loaded from.
        destination_id: The org's warehouse.
    """

    journey: Journey
    source_id: int
    destination_id: int

    @property
    def client(self) -> ApiClient:
        """The API, signed in as its owner."""
        return self.journey.client

    @property
    def slug(self) -> str:
        """The org's."""
        return self.journey.org

    @property
    def path(self) -> str:
        """Of the org in the API."""
        return f"/orgs/{self.slug}"

    @property
    def upload_id(self) -> int:
        """The load of a thousand rows."""
        return self.found("uploads", UPLOAD)

    @property
    def model_id(self) -> int:
        """The model over them."""
        return self.found("transformations", MODEL)

    def find(self, collection: str, name: str) -> int | None:
        """Returns the id of what has that name."""
        rows = self.client.pages(f"{self.path}/{collection}")
        return next((row["id"] for row in rows if row["name"] == name), None)

    def found(self, collection: str, name: str) -> int:
        """Returns the id of what has that name and is there."""
        found = self.find(collection, name)
        if found is None:
            raise BenchmarkError(f"there is no {name} among the {collection}")
        return found

    def add_upload(self, name: str, schema: str) -> int:
        """Defines a load of the thousand rows into a schema; the caller publishes."""
        body = _upload(name, schema, self.source_id, self.destination_id)
        return self.client.post(f"{self.path}/uploads", body)["id"]

    def define(self) -> None:
        """Defines the load, the model and the edge between them."""
        upload_id = self.add_upload(UPLOAD, SCHEMA)
        model = self.client.post(f"{self.path}/transformations", _model())
        edge = definitions.dependency(upload_id, model["id"])
        self.client.post(f"{self.path}/dependencies", edge)


@contextmanager
def bench_org(stack: LocalStack) -> Iterator[BenchOrg]:
    """Gives the demo's org, with one load and one model published that it did not have before."""
    _make_table(stack)
    addresses = stack.start()
    owner = Person(definitions.OWNER_EMAIL, stack.owner_password())
    with ApiClient(addresses.api_url) as client:
        journey = Journey(client, Display(Console(quiet=True)), owner)
        journey.sign_up()
        path = f"/orgs/{journey.org}"
        (source,) = [
            row
            for row in client.pages(f"{path}/connections")
            if row["name"] == definitions.SOURCE_NAME
        ]
        destination_id = client.get(f"{path}/warehouse")["connection_id"]
        org = BenchOrg(journey, source["id"], destination_id)
        if org.find("uploads", UPLOAD) is None:
            org.define()
            journey.publish()
        yield org


def _make_table(stack: LocalStack) -> None:
    with psycopg.connect(stack.source().dsn(airline.DATABASE), autocommit=True) as connection:
        connection.execute(
            sql.SQL(_TABLE_DEFINITION).format(sql.Identifier(TABLE), sql.Literal(ROWS))
        )
        grant = sql.SQL("GRANT SELECT ON {} TO {}")
        connection.execute(grant.format(sql.Identifier(TABLE), sql.Identifier(airline.READER)))


def _upload(name: str, schema: str, source_id: int, destination_id: int) -> dict[str, Any]:
    return {
        "name": name,
        "source_connection_id": source_id,
        "destination_connection_id": destination_id,
        "config": {
            "mode": "single_table",
            "table": TABLE,
            "source_schema": "public",
            "target_schema": schema,
            "write_disposition": "replace",
        },
    }


def _model() -> dict[str, Any]:
    query = f"select sum(amount) as total from {{{{ source('{SCHEMA}', '{TABLE}') }}}}"
    return {"name": MODEL, "schema": SCHEMA, "sql": query, "materialization": "table", "tests": []}
