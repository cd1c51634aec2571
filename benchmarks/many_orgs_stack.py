"""A stack with as many orgs as a benchmark wants, and what its processes take."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks.memory import pss_mb, tree_of
from benchmarks.workspace import BenchmarkError, run_datanika
from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation, ConnectionRef
from datanika_manifest.uploads import Upload, UploadTable, WriteDisposition
from datanika_stack.layout import Home
from datanika_stack.settings import StackSettings
from datanika_stack.stack_plan import StackPlan

WAIT_SECONDS = 600.0
LOCATIONS = """{ locationStatusesOrError { ... on WorkspaceLocationStatusEntries {
  entries { name loadStatus versionKey } } } }"""
PARTS = ("daemon", "gateway", "control_plane", "worker")


def many_manifests(org_ids: Iterable[int], assets: int) -> list[CodeLocation]:
    """Returns the manifests of orgs with one upload of so many tables and one schedule a day."""
    return [_manifest(org_id, assets) for org_id in org_ids]


class OrgsStack:
    """A stack of its own.

    Args:
        directory: Its home.
        port: Its base port.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self._home = Home.at(directory)
        self._port = port

    def start(self, *, idle_minutes: float) -> None:
        """Starts the stack."""
        options = ["--detach", "--home", str(self._home.path), "--port", str(self._port)]
        run_datanika(
            "up", *options, environment={"DATANIKA_CODE_SERVER_IDLE_MINUTES": str(idle_minutes)}
        )

    def stop(self) -> None:
        """Stops the stack, where there is one."""
        if self._home.path.exists():
            run_datanika("down", "--home", str(self._home.path))

    def restart(self, *, idle_minutes: float) -> None:
        """Starts it anew with another idle time."""
        self.stop()
        self.start(idle_minutes=idle_minutes)

    def publish(self, manifests: list[CodeLocation]) -> list[str]:
        """Makes manifests the current ones of their orgs, which are made where they are missing."""
        with psycopg.connect(self._admin_dsn()) as connection:
            for manifest in manifests:
                _publish(connection, manifest)
        return [manifest.sha256() for manifest in manifests]

    def wait_until(self, orgs: int, state: str) -> None:
        """Waits until the code servers of so many orgs are in a state."""

        def count() -> bool:
            servers = json.loads((self._home.dagster_home / "code_servers.json").read_text())
            return sum(s["state"] == state for s in servers["servers"].values()) >= orgs

        _wait(count, f"{orgs} code servers {state}")

    def wait_until_shown(self, orgs: int) -> None:
        """Waits until the webserver has loaded so many code locations."""
        _wait(lambda: len(self._live()) >= orgs, f"{orgs} orgs in the UI")

    def wait_until_live(self, wanted: dict[str, str]) -> None:
        """Waits until the webserver has loaded these manifests."""
        _wait(lambda: wanted.items() <= self._live().items(), f"{', '.join(wanted)} live")

    def wait_until_ticking(self, orgs: int) -> None:
        """Waits until the daemon knows the schedules of so many orgs."""
        query = "SELECT count(*) FROM instigators WHERE instigator_type = 'SCHEDULE'"

        def count() -> bool:
            with psycopg.connect(self._admin_dsn("dagster")) as connection:
                row = connection.execute(query).fetchone()
            return row is not None and row[0] >= orgs

        _wait(count, f"schedules of {orgs} orgs in the daemon")

    def memory_mb(self) -> float:
        """Returns the memory of everything that the stack has started."""
        return pss_mb(tree_of(self._state()["pid"]))

    def server_mb(self) -> float:
        """Returns the memory of one code server, as the mean of all."""
        pids = [pid for name, pid in self._pids().items() if name.startswith("code_server_")]
        return pss_mb(pids) / len(pids)

    def cpu_percent(self, seconds: float) -> dict[str, float]:
        """Returns what the stack's own processes take of a core, for a while from now."""
        pids = {name: pid for name, pid in self._pids().items() if name in PARTS}
        pids["supervisor"] = self._state()["pid"]
        processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        before = {name: _cpu_seconds(process) for name, process in processes.items()}
        time.sleep(seconds)
        return {
            name: (_cpu_seconds(process) - before[name]) / seconds * 100
            for name, process in processes.items()
        }

    def _live(self) -> dict[str, str]:
        token = self._plan().control_plane_environment()["DATANIKA_SERVICE_TOKEN"]
        answer = httpx.post(
            f"http://127.0.0.1:{self._port + 1}/dagster/graphql",
            json={"query": LOCATIONS},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        ).json()
        entries = answer["data"]["locationStatusesOrError"]["entries"]
        return {
            entry["name"].removeprefix("org_"): json.loads(entry["versionKey"])[0]
            for entry in entries
            if entry["loadStatus"] == "LOADED" and entry["versionKey"].startswith("[")
        }

    def _plan(self) -> StackPlan:
        return StackPlan.make(self._home, self._port, "127.0.0.1", StackSettings())

    def _admin_dsn(self, database: str = "datanika") -> str:
        admin = self._plan().endpoints.admin
        if admin is None:
            raise BenchmarkError("this benchmark needs the embedded PostgreSQL")
        url = admin.set(drivername="postgresql", database=database)
        return url.render_as_string(hide_password=False)

    def _state(self) -> dict[str, Any]:
        return json.loads(self._home.state_file.read_text())

    def _pids(self) -> dict[str, int]:
        return {entry["name"]: entry["pid"] for entry in self._state()["processes"] if entry["pid"]}


def _manifest(org_id: int, assets: int) -> CodeLocation:
    org = f"org{org_id}"
    tables = tuple(
        UploadTable(
            source_schema="public",
            source_table=f"table_{number}",
            target_table=f"table_{number}",
            asset_key=(org, "warehouse", "raw", f"table_{number}"),
        )
        for number in range(assets)
    )
    upload = Upload(
        id=1,
        slug="load",
        name="Load",
        source="source",
        destination="warehouse",
        target_schema="raw",
        tables=tables,
        write_disposition=WriteDisposition.REPLACE,
    )
    nightly = Schedule(
        id=1,
        name="nightly",
        cron=f"{org_id % 60} 3 1 1 *",
        timezone="UTC",
        is_active=True,
        asset_keys=tuple(table.asset_key for table in tables),
    )
    return CodeLocation(
        org_id=org_id,
        org=org,
        connections=(
            ConnectionRef(id=1, slug="source", connector="postgres"),
            ConnectionRef(id=2, slug="warehouse", connector="managed_warehouse"),
        ),
        uploads=(upload,),
        schedules=(nightly,),
    )


def _publish(connection: psycopg.Connection[Any], manifest: CodeLocation) -> None:
    values = {
        "id": manifest.org_id,
        "slug": manifest.org,
        "sha256": manifest.sha256(),
        "text": manifest.canonical_json(),
    }
    connection.execute(
        """INSERT INTO organizations (id, slug, name, is_suspended, created_at, updated_at, version)
           VALUES (%(id)s, %(slug)s, %(slug)s, false, now(), now(), 1) ON CONFLICT DO NOTHING""",
        values,
    )
    row = connection.execute(
        """INSERT INTO manifests (org_id, sha256, text, created_at, created_by)
           VALUES (%(id)s, %(sha256)s, %(text)s, now(), 'benchmark')
           ON CONFLICT (org_id, sha256) DO UPDATE SET created_by = 'benchmark' RETURNING id""",
        values,
    ).fetchone()
    if row is None:
        raise BenchmarkError(f"the manifest of {manifest.org} cannot be published")
    connection.execute(
        """INSERT INTO current_manifests (org_id, manifest_id, published_at)
           VALUES (%(id)s, %(manifest_id)s, now())
           ON CONFLICT (org_id) DO UPDATE SET manifest_id = excluded.manifest_id,
             published_at = excluded.published_at""",
        values | {"manifest_id": row[0]},
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError, psycopg.Error):
            pass  # it is starting
        time.sleep(0.1)
    raise BenchmarkError(f"not within {WAIT_SECONDS:.0f} seconds: {what}")
