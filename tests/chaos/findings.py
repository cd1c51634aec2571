"""What must hold after something was killed. Each function returns what is wrong, in words."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import psycopg

from benchmarks.checksums import different_columns, table_checksum
from datanika_dagster.launcher import worker
from datanika_dagster.tags import WORKER_TAG
from tests.chaos.site import SCHEMA, TABLES, Site

UNFINISHED: Final = "status not in ('SUCCESS', 'FAILURE', 'CANCELED')"
_TAG: Final = "(select value from run_tags t where t.run_id = r.run_id and t.key = %s)"
# Dagster first ticks in the minute after the one in which it first saw a schedule.
_LONGEST_SILENCE_SECONDS: Final = 150.0
_LEFTOVER: Final = "datanika_dagster.launcher"
_HOST: Final = "datanika_dagster.launcher.host"


def unfinished(site: Site) -> list[str]:
    """Returns the runs that have not ended."""
    return [run_id for (run_id,) in site.rows(f"select run_id from runs where {UNFINISHED}")]


def wrong_states(site: Site) -> list[str]:
    """Returns the runs whose status is not true, or that nobody would ever go on with."""
    found: list[str] = []
    active = 0
    for run_id, status, tag in site.rows(
        f"select r.run_id, r.status, {_TAG} from runs r where {UNFINISHED}", WORKER_TAG
    ):
        of_run = worker.from_tag(tag)
        if status == "NOT_STARTED":
            found.append(f"run {run_id} was never queued")
        elif status != "QUEUED":
            active += 1
            if of_run is None or not worker.is_alive(of_run):
                found.append(f"run {run_id} is {status} without a process")
    queued = site.rows("select run_id from runs where status = 'QUEUED'")
    if queued and not active:
        found.append(f"{len(queued)} runs are queued and none runs")
    return found


def once_all_has_ended(site: Site) -> list[str]:
    """Returns what is wrong once no run is unfinished."""
    checks = (_slots, _retries, _ticks, _data, _processes, _directories, _sockets)
    return [finding for check in checks for finding in check(site)]


def _slots(site: Site) -> Iterator[str]:
    held = site.rows("select run_id from concurrency_slots where run_id is not null")
    held += site.rows("select run_id from pending_steps")
    for (run_id,) in held:
        yield f"run {run_id} has ended and holds a concurrency slot"


def _retries(site: Site) -> Iterator[str]:
    query = f"""
        select r.run_id, {_TAG}, {_TAG},
            (select count(*) from run_tags c
                where c.key = 'dagster/parent_run_id' and c.value = r.run_id)
        from runs r
        where r.status = 'FAILURE' and (r.run_id = any(%s) or {_TAG} = any(%s))
    """
    roots = list(site.launched)
    tags = ("dagster/will_retry", "dagster/parent_run_id")
    for run_id, will_retry, parent, children in site.rows(
        query, *tags, roots, "dagster/root_run_id", roots
    ):
        expected = 1 if will_retry == "true" else 0
        if children != expected:
            yield f"run {run_id} was retried {children} times instead of {expected}"
        if not parent and not expected:
            yield f"run {run_id} failed and was not retried"


def _ticks(site: Site) -> Iterator[str]:
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
    name, due_at = "dagster/schedule_name", ".dagster/scheduled_execution_time"
    for schedule, at, count in site.rows(doubled, name, due_at, "dagster/parent_run_id", due_at):
        yield f"the tick of {schedule} at {at} has {count} runs"


def _data(site: Site) -> Iterator[str]:
    with psycopg.connect(site.source_url) as source:
        expected = {table: table_checksum(source, "public", table) for table in TABLES}
    for tenant in site.tenants:
        with psycopg.connect(tenant.warehouse_url) as warehouse:
            for table, checksum in expected.items():
                columns = list(checksum.columns)
                copy = table_checksum(warehouse, SCHEMA, table, columns=columns)
                for column in different_columns(checksum, copy):
                    yield f"{tenant.org.slug}: {table}.{column} is not what the source has"
            row = warehouse.execute(f"select * from {SCHEMA}.chaos_one").fetchone()
            if row != (1,):
                yield f"{tenant.org.slug}: chaos_one is {row}"


def _processes(site: Site) -> Iterator[str]:
    known = {one.pid for one in site.state.processes}
    for process in psutil.Process(site.state.pid).children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if process.pid not in known and _LEFTOVER in command and _HOST not in command:
            yield f"process {process.pid} is left over: {command[:120]}"


def _directories(site: Site) -> Iterator[str]:
    for left in site.home.work_dir.iterdir():
        yield f"working directory {left.name} is left over"


def _sockets(site: Site) -> Iterator[str]:
    with psycopg.connect(site.source_url):
        listening = {Path(one.laddr) for one in psutil.net_connections("unix") if one.laddr}
    for socket in site.home.runtime_dir.rglob("*.sock"):
        if socket not in listening:
            yield f"nobody listens on {socket.name}"
