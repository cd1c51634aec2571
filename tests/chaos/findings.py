"""What must hold once every run has ended. Each function says in words what is wrong."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from benchmarks.checksums import different_columns, table_checksum
from control_plane.runs.status import PUBLIC_STATUS
from tests.chaos.site import Site
from tests.chaos.tenant import APPENDED, MODEL, SCHEMA, SOURCE_SCHEMA, UPLOADS, Tenant

_TAG: Final = "(select max(value) from run_tags t where t.run_id = r.run_id and t.key = %s)"
SCHEDULE_TAG: Final = "dagster/schedule_name"
DUE_TAG: Final = ".dagster/scheduled_execution_time"
PARENT_TAG: Final = "dagster/parent_run_id"
# Dagster first ticks in the minute after the one in which it first saw a schedule.
_LONGEST_SILENCE_SECONDS: Final = 150.0
_HOST: Final = "datanika_dagster.launcher.host"


def once_all_has_ended(site: Site) -> list[str]:
    """Returns what is wrong once no run is unfinished."""
    checks = (_slots, _retries, _statuses, ticks, _data, _processes, _directories, _sockets)
    return [finding for check in checks for finding in check(site)]


def _slots(site: Site) -> Iterator[str]:
    held = site.rows("select run_id from concurrency_slots where run_id is not null")
    held += site.rows("select run_id from pending_steps")
    for (run_id,) in held:
        yield f"run {run_id} has ended and holds a concurrency slot"


def _retries(site: Site) -> Iterator[str]:
    query = f"""
        select r.run_id, {_TAG}, {_TAG},
            (select count(*) from run_tags c where c.key = '{PARENT_TAG}' and c.value = r.run_id)
        from runs r where r.status = 'FAILURE' and r.create_timestamp > to_timestamp(%s)
    """
    for run_id, will_retry, parent, children in site.rows(
        query, "dagster/will_retry", PARENT_TAG, site.began_at
    ):
        expected = 1 if will_retry == "true" else 0
        if children != expected:
            yield f"run {run_id} was retried {children} times instead of {expected}"
        if not parent and not expected:
            yield f"run {run_id} failed and was not retried"


def _statuses(site: Site) -> Iterator[str]:
    """The API says of each run what Dagster says; each launch and each retry is on record."""
    dagsters = dict(
        site.rows(
            "select run_id, status from runs where create_timestamp > to_timestamp(%s)",
            site.began_at,
        )
    )
    shown: dict[str, str] = {}
    for tenant in site.tenants:
        shown |= dict(_shown(tenant))
    for run_id, status in dagsters.items():
        if shown.get(run_id) != PUBLIC_STATUS[status].value:
            yield f"run {run_id} is {status}, and the API says {shown.get(run_id)}"
    for run_id in set(site.launched) - set(dagsters):
        yield f"run {run_id} was accepted, and Dagster does not know it"


def _shown(tenant: Tenant) -> Iterator[tuple[str, str]]:
    cursor: dict[str, Any] = {}
    while True:
        page = tenant.org.get("runs", limit=100, **cursor)
        yield from ((run["id"], run["status"]) for run in page["data"])
        if not page["next_cursor"]:
            return
        cursor = {"cursor": page["next_cursor"]}


def ticks(site: Site) -> Iterator[str]:
    """Says which ticks failed, hang, were doubled or do not come."""
    for status, count in site.rows(
        "select status, count(*) from job_ticks where type = 'SCHEDULE'"
        " and status not in ('SUCCESS', 'SKIPPED') group by status"
    ):
        yield f"{count} ticks are {status}"
    ((newest,),) = site.rows("select extract(epoch from max(timestamp)) from job_ticks")
    last = max(float(newest or 0), site.ticks_since or 0)
    if site.ticks_since and time.time() - last > _LONGEST_SILENCE_SECONDS:
        yield "a schedule that ticks each minute ticks no more"
    doubled = f"""
        select {_TAG}, {_TAG}, count(*) from runs r
        where {_TAG} is null and {_TAG} is not null group by 1, 2 having count(*) > 1
    """
    for schedule, at, count in site.rows(doubled, SCHEDULE_TAG, DUE_TAG, PARENT_TAG, DUE_TAG):
        yield f"the tick of {schedule} at {at} has {count} runs"
    for selector, at, count in site.rows(
        "select selector_id, timestamp, count(*) from job_ticks where type = 'SCHEDULE'"
        " group by 1, 2 having count(*) > 1"
    ):
        yield f"the tick of {selector} at {at} is recorded {count} times"


def _data(site: Site) -> Iterator[str]:
    for tenant in site.tenants:
        with (
            psycopg.connect(site.source_url) as source,
            psycopg.connect(tenant.warehouse_url) as warehouse,
        ):
            for table, schema, _ in UPLOADS:
                expected = table_checksum(source, schema, table)
                columns = list(expected.columns)
                copy = table_checksum(warehouse, SCHEMA, table, columns=columns)
                for column in different_columns(expected, copy):
                    yield f"{tenant.org.slug}: {table}.{column} is not what the source has"
            totals = source.execute(
                f"select count(*), sum(id) from {SOURCE_SCHEMA}.{APPENDED}"
            ).fetchone()
            row = warehouse.execute(f"select events, total from {SCHEMA}.{MODEL}").fetchone()
            if row != totals:
                yield f"{tenant.org.slug}: {MODEL} is {row} instead of {totals}"


def _processes(site: Site) -> Iterator[str]:
    state = site.state
    known = {one.pid for one in state.processes}
    supervisor = psutil.Process(state.pid)
    direct = {process.pid for process in supervisor.children()}
    for process in supervisor.children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        # What loses its parent becomes the supervisor's; a host's children look like the host.
        is_orphan = process.pid in direct
        if process.pid not in known and (is_orphan or _HOST in command):
            yield f"process {process.pid} is left over: {command[:120]}"


def _directories(site: Site) -> Iterator[str]:
    for left in site.home.work_dir.iterdir():
        yield f"working directory {left.name} is left over"


def _sockets(site: Site) -> Iterator[str]:
    listening = {Path(one.laddr) for one in psutil.net_connections("unix") if one.laddr}
    for socket in site.home.runtime_dir.rglob("*"):
        if socket.is_socket() and socket not in listening:
            yield f"nobody listens on {socket.name}"
