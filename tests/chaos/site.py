"""A running stack with two orgs that load and transform, and a look into Dagster's database."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from datanika_stack.demo.definitions import source_connection
from datanika_stack.endpoints import embedded_endpoints, text_of
from datanika_stack.layout import Home, Ports
from datanika_stack.secrets import load
from datanika_stack.state import StackState, read_state
from tests.end_to_end.conftest import Org, RunningStack, wait_until

SCHEMA: Final = "chaos"
TABLES: Final = ("airlines", "planes")
LAUNCH_SECONDS: Final = 60.0


@dataclass
class Tenant:
    """An org with one upload for each table and a model.

    Attributes:
        org: Its owner.
        warehouse_url: A login that reads its warehouse.
        targets: What can be launched: paths of the REST API.
    """

    org: Org
    warehouse_url: str
    targets: list[str] = field(default_factory=list)


class Site:
    """What chaos is done to.

    Args:
        stack: A running stack with the demo's source.
    """

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.home = Home.at(stack.home)
        self.launched: list[str] = []
        self.ticks_since: float | None = None
        self.source_url = str(stack.demo["source_url"])
        endpoints = embedded_endpoints(load(self.home), stack.port + 2)
        self._storage_url = text_of(endpoints.dagster).replace("+psycopg2", "")
        acme = stack.log_in(stack.demo["email"], stack.demo["password"], stack.demo["org"])
        self.tenants = [self._tenant(acme), self._tenant(stack.sign_up("Chaos"))]

    @property
    def state(self) -> StackState:
        """What the supervisor says now."""
        state = read_state(self.home)
        assert state is not None
        return state

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Asks Dagster's database."""
        with psycopg.connect(self._storage_url) as connection:
            return connection.execute(query, values or None).fetchall()

    def launch(self, count: int) -> list[str]:
        """Launches runs, the orgs and their targets in turn, and returns their ids."""
        run_ids: list[str] = []
        for number in range(count):
            tenant = self.tenants[number % len(self.tenants)]
            target = tenant.targets[number // len(self.tenants) % len(tenant.targets)]
            run_ids.append(tenant.org.post(f"{target}/runs", expected=202)["id"])
        self.launched += run_ids
        return run_ids

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Ticks one upload each minute while it is entered."""
        org = self.tenants[0].org
        target_id = int(self.tenants[0].targets[0].rsplit("/", 1)[1])
        body = {"target_type": "upload", "target_id": target_id}
        schedule = org.post("schedules", cron="* * * * *", timezone="UTC", is_active=True, **body)
        org.post("publish", expected=200)
        self.ticks_since = time.time()
        try:
            yield
        finally:
            self.ticks_since = None
            org.api.patch(f"schedules/{schedule['id']}", json={"is_active": False})
            org.post("publish", expected=200)

    def is_up(self) -> bool:
        """Tells whether every process runs and serves, the database, too."""
        try:
            self.rows("select 1")
        except psycopg.OperationalError:
            return False
        state = self.state
        return state.state == "running" and all(one.state == "running" for one in state.processes)

    def _tenant(self, org: Org) -> Tenant:
        wait_until(lambda: org.get("warehouse"), lambda w: w["state"] == "ready", LAUNCH_SECONDS)
        login = org.post("warehouse/credentials")
        tenant = Tenant(org, login["url"])
        source = self._source(org)
        for table in TABLES:
            upload = _once(
                org,
                "uploads",
                name=f"Chaos {table}",
                source_connection_id=source["id"],
                destination_connection_id=org.get("warehouse")["connection_id"],
                config={
                    "mode": "single_table",
                    "table": table,
                    "target_schema": SCHEMA,
                    "write_disposition": "replace",
                },
            )
            tenant.targets.append(f"uploads/{upload['id']}")
        model = _once(
            org,
            "transformations",
            name="chaos_one",
            schema=SCHEMA,
            sql="select 1 as one",
            materialization="table",
        )
        tenant.targets.append(f"transformations/{model['id']}")
        org.post("publish", expected=200)
        key = f"{org.slug}/warehouse/{SCHEMA}/chaos_one"
        wait_until(lambda: self._asset_keys(), lambda keys: key in keys, LAUNCH_SECONDS)
        return tenant

    def _source(self, org: Org) -> dict[str, Any]:
        url = make_url(self.source_url)
        body = source_connection(
            port=Ports(self.stack.port).source, password=str(url.password or "")
        )
        return _once(org, "connections", **body)

    def _asset_keys(self) -> set[str]:
        data = self.stack.graphql("{ assetNodes { assetKey { path } } }")
        return {"/".join(node["assetKey"]["path"]) for node in data["assetNodes"]}


def _once(org: Org, resource: str, **body: Any) -> dict[str, Any]:
    """Makes a row unless the org has one of this name."""
    known = [row for row in org.get(resource)["data"] if row["name"] == body["name"]]
    return known[0] if known else org.post(resource, **body)
