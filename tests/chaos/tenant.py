"""An org that chaos is done to: it appends, merges and replaces tables, and has a model on one of them.

What it reads is a schema of the source database that grows while its runs are killed.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy import make_url

from datanika_stack.clusters import source_cluster
from datanika_stack.demo import airline
from datanika_stack.demo.definitions import source_connection
from datanika_stack.layout import Home, Ports
from datanika_stack.secrets import load
from tests.end_to_end.conftest import Org, RunningStack, wait_until

SCHEMA: Final = "chaos"
SOURCE_SCHEMA: Final = "chaos_source"
MODEL: Final = "chaos_totals"
# Table, where it is, how it is written.
APPENDED, MERGED, REPLACED = "events", "planes", "weather"
UPLOADS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (APPENDED, SOURCE_SCHEMA, {"write_disposition": "append", "incremental": {"cursor": "id"}}),
    (MERGED, "public", {"write_disposition": "merge", "primary_key": ["tailnum"]}),
    (REPLACED, "public", {"write_disposition": "replace"}),
)
OK, CREATED = 200, 201
ROWS_OF_A_KILL: Final = 3_000
_READY_SECONDS: Final = 60.0
_TOTALS: Final = "select count(*) as events, sum(id) as total from {{ source('chaos', 'events') }}"


class Source:
    """The source database, as its own administrator sees it."""

    def __init__(self, home: Home, port: int) -> None:
        known = load(home)
        self._url = source_cluster(home, Ports(port), known).dsn(airline.DATABASE)

    def prepare(self) -> None:
        """Makes the table that grows."""
        with psycopg.connect(self._url) as connection:
            connection.execute(f"create schema if not exists {SOURCE_SCHEMA}")
            connection.execute(
                f"create table if not exists {SOURCE_SCHEMA}.{APPENDED} (id bigint primary key"
                " generated always as identity, noted_at timestamptz not null, note text not null)"
            )
            connection.execute(f"grant usage on schema {SOURCE_SCHEMA} to {airline.READER}")
            connection.execute(
                f"grant select on all tables in schema {SOURCE_SCHEMA} to {airline.READER}"
            )
        self.grow()

    def grow(self) -> None:
        """Adds rows."""
        with psycopg.connect(self._url) as connection:
            connection.execute(
                f"insert into {SOURCE_SCHEMA}.{APPENDED} (noted_at, note)"
                " select clock_timestamp(), md5(n::text) from generate_series(1, %s) n",
                [ROWS_OF_A_KILL],
            )


@dataclass
class Tenant:
    """An org with three uploads and a model.

    Attributes:
        org: Its owner.
        sign_in: What the owner signs in with: e-mail address and password.
        warehouse_url: A login that reads its warehouse.
        upload_ids: By table.
        model_id: The model's transformation.
    """

    org: Org
    sign_in: dict[str, str]
    warehouse_url: str
    upload_ids: dict[str, int] = field(default_factory=dict)
    model_id: int = 0

    def renew(self) -> None:
        """Signs in again: chaos takes longer than a session lasts."""
        base_url = self.org.api.base_url.copy_with(raw_path=b"/api/v1/auth/login")
        answer = httpx.post(base_url, json=self.sign_in, timeout=30)
        assert answer.status_code == OK, answer.text
        self.org.api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    @property
    def everything(self) -> list[dict[str, Any]]:
        """All targets, for one run."""
        uploads = [{"type": "upload", "id": number} for number in self.upload_ids.values()]
        return [*uploads, self._model]

    def targets(self, number: int) -> list[dict[str, Any]]:
        """Returns what the run of this number is of: a load with dbt, or one of the other loads."""
        table = UPLOADS[number % len(UPLOADS)][0]
        upload = {"type": "upload", "id": self.upload_ids[table]}
        return [upload, self._model] if table == APPENDED else [upload]

    @property
    def _model(self) -> dict[str, Any]:
        return {"type": "transformation", "id": self.model_id}


def founded(stack: RunningStack, name: str) -> tuple[Org, dict[str, str]]:
    """Signs up somebody with an org, and returns both."""
    sign_in = {
        "email": f"{secrets.token_hex(6)}@example.com",
        "password": secrets.token_urlsafe(16),
    }
    url = f"{stack.api_url}/api/v1/auth/signup"
    answer = httpx.post(url, json={**sign_in, "org_name": name}, timeout=30)
    assert answer.status_code == CREATED, answer.text
    return stack.log_in(**sign_in, org=answer.json()["org"]["slug"]), sign_in


def furnished(org: Org, sign_in: dict[str, str], source_url: str) -> Tenant:
    """Returns the tenant with its uploads and its model, made where they are missing.

    Args:
        org: Its owner.
        sign_in: What the owner signs in with.
        source_url: The reader's login.
    """
    wait_until(lambda: org.get("warehouse"), lambda w: w["state"] == "ready", _READY_SECONDS)
    tenant = Tenant(org, sign_in, org.post("warehouse/credentials")["url"])
    url = make_url(source_url)
    body = source_connection(port=url.port or 0, password=str(url.password or ""))
    source = _once(org, "connections", **body)
    for table, schema, how in UPLOADS:
        upload = _once(
            org,
            "uploads",
            name=f"Chaos {table}",
            source_connection_id=source["id"],
            destination_connection_id=org.get("warehouse")["connection_id"],
            config={
                "mode": "single_table",
                "source_schema": schema,
                "table": table,
                "target_schema": SCHEMA,
                **how,
            },
        )
        tenant.upload_ids[table] = upload["id"]
    model = _once(
        org,
        "transformations",
        name=MODEL,
        schema=SCHEMA,
        sql=_TOTALS,
        materialization="table",
    )
    tenant.model_id = model["id"]
    publish(org)
    return tenant


def publish(org: Org) -> None:
    """Publishes, and waits until Dagster has what was published."""
    org.post("publish", expected=200)
    wait_until(lambda: org.get("manifest"), lambda m: m["state"] == "live", _READY_SECONDS)


def _once(org: Org, resource: str, **body: Any) -> dict[str, Any]:
    """Makes a row unless the org has one of this name."""
    known = [row for row in org.get(resource)["data"] if row["name"] == body["name"]]
    return known[0] if known else org.post(resource, **body)
