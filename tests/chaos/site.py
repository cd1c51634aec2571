"""A running stack with two orgs that load and transform, and a look into Dagster's database."""

import contextlib
import secrets
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from datanika_stack.endpoints import embedded_endpoints, text_of
from datanika_stack.layout import Home
from datanika_stack.secrets import load
from datanika_stack.state import StackState, read_state
from tests.chaos.tenant import MERGED, Source, founded, furnished, publish
from tests.end_to_end.conftest import Org, RunningStack

UNFINISHED: Final = "status not in ('SUCCESS', 'FAILURE', 'CANCELED')"

ACCEPTED: Final = 202
# What an API says that has just come back: Dagster or the database is not there yet, or at it.
COME_AGAIN: Final = (409, 502, 503, 504)
# For so long nobody knows whether a launch that got no answer has come to something.
LAUNCH_SECONDS: Final = 120.0
SESSION_SECONDS: Final = 300.0


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
        self.began_at = time.time()
        self.source_url = str(stack.demo["source_url"])
        self.source = Source(self.home, stack.port)
        self.source.prepare()
        endpoints = embedded_endpoints(load(self.home), stack.port + 2)
        self._storage_url = text_of(endpoints.dagster).replace("+psycopg2", "")
        owner = {name: stack.demo[name] for name in ("email", "password")}
        orgs = [(stack.log_in(**owner, org=stack.demo["org"]), owner), founded(stack, "Chaos")]
        self.tenants = [furnished(*org, self.source_url) for org in orgs]
        self._renewed = time.monotonic()

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

    def unfinished(self) -> list[str]:
        """Returns the runs that have not ended."""
        return [run_id for (run_id,) in self.rows(f"select run_id from runs where {UNFINISHED}")]

    def queue(self, count: int) -> None:
        """Launches runs, the orgs and their targets in turn, until this many have not ended."""
        self.source.grow()
        self.renew_sessions()
        for _ in range(count * 2):
            if len(self.unfinished()) >= count:
                return
            number = len(self.launched)
            tenant = self.tenants[number % len(self.tenants)]
            self._launch(tenant.org, tenant.targets(number // len(self.tenants)))

    def load_everything(self) -> list[str]:
        """Launches one run of all targets for each org, and returns those that do not succeed."""
        self.renew_sessions()
        runs = [(one.org, self._launch(one.org, one.everything)) for one in self.tenants]
        ended = [org.wait_for_run(run_id) for org, run_id in runs]
        return [run["id"] for run in ended if run["status"] != "success"]

    def renew_sessions(self) -> None:
        """Signs in again before the sessions end."""
        if time.monotonic() - self._renewed > SESSION_SECONDS:
            for tenant in self.tenants:
                tenant.renew()
            self._renewed = time.monotonic()

    def _launch(self, org: Org, targets: list[dict[str, Any]]) -> str:
        """Launches as a client does that may be told to come again, and has a key for that."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        deadline = time.monotonic() + LAUNCH_SECONDS
        while True:
            answer = org.api.post("runs", json={"targets": targets}, headers=headers)
            if answer.status_code == ACCEPTED:
                run_id = answer.json()["id"]
                self.launched.append(run_id)
                return run_id
            assert answer.status_code in COME_AGAIN, answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(1)

    @contextlib.contextmanager
    def ticking(self, cron: str = "* * * * *") -> Iterator[int]:
        """Ticks the first org's merge while it is entered, and gives the schedule's id."""
        tenant = self.tenants[0]
        schedule = tenant.org.post(
            "schedules",
            cron=cron,
            timezone="UTC",
            is_active=True,
            target_type="upload",
            target_id=tenant.upload_ids[MERGED],
        )
        publish(tenant.org)
        self.ticks_since = self.ticks_since or time.time()
        try:
            yield schedule["id"]
        finally:
            self.renew_sessions()
            tenant.org.api.delete(f"schedules/{schedule['id']}")
            publish(tenant.org)

    def is_up(self) -> bool:
        """Tells whether every process runs and serves, the database, too."""
        try:
            self.rows("select 1")
        except psycopg.OperationalError:
            return False
        state = self.state
        return state.state == "running" and all(one.state == "running" for one in state.processes)
