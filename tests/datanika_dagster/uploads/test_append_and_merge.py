"""Append and merge: exact after crashes, exact when run twice."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest

from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads import job as upload_job
from datanika_dagster.uploads.lock import lock_key
from tests.datanika_dagster.uploads.conftest import Uploader

_CHILD = """
import json, sys
from pathlib import Path
from datanika_dagster.uploads import job
from tests.datanika_dagster.databases import RecordingJob
given = json.load(sys.stdin)
job.run(RecordingJob(Path(given["work_dir"])), given["payload"], given["secrets"])
"""

_COPY_RUNS = (
    "select count(*) from pg_stat_progress_copy"
    " where tuples_processed > 0 and datname = current_database()"
)


def _slow_view(seconds: float) -> str:
    """Sleeps before its last thousand rows."""
    return (
        "create or replace view t as select id from (select id, lead(id, 1000) over (order by id)"
        " is null and lead(id, 999) over (order by id) is not null as is_pause from base) numbered,"
        " lateral (select pg_sleep(case when is_pause then :seconds else 0 end) offset 0) s"
    ).replace(":seconds", str(seconds))


def _counts(uploader: Uploader) -> list[tuple[Any, ...]]:
    return uploader.warehouse.rows("select count(*), count(distinct id) from raw.t")


class TestAppend:
    def test_each_run_adds_its_rows(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t as select generate_series(1, 100) id")
        uploader.run(["t"], "append")
        uploader.run(["t"], "append")
        assert _counts(uploader) == [(200, 100)]
        loads = uploader.warehouse.value("select count(distinct _dlt_load_id) from raw.t")
        assert loads == 2

    def test_rows_of_an_unfinished_load_are_purged(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t as select generate_series(1, 100) id")
        uploader.run(["t"], "append")
        uploader.warehouse.execute(
            "insert into raw.t values (7, '1.23')",
            "insert into raw.t values (8, null)",
            "insert into raw._datanika_pending_loads values ('1.23', 'acme__orders', 't')",
        )
        uploader.run(["t"], "append")
        # A row without a load id is somebody else's and stays.
        assert _counts(uploader) == [(201, 100)]

    @pytest.mark.parametrize("moment", ["during the copy", "after the commit"])
    def test_a_killed_run_leaves_nothing_behind(self, uploader: Uploader, moment: str) -> None:
        uploader.source.execute(
            "create table base as select generate_series(1, 20000) id",
            "create view t as select id from base",
        )
        uploader.run(["t"], "append")
        if moment == "during the copy":
            self._kill_during_the_copy(uploader)
        else:
            self._kill_after_the_commit(uploader)

        uploader.run(["t"], "append")

        assert _counts(uploader) == [(40_000, 20_000)]

    def test_a_record_that_arrives_after_the_kill_counts(self, uploader: Uploader) -> None:
        """The server may still carry out what a killed client has sent."""
        uploader.source.execute(
            "create table base as select generate_series(1, 20000) id",
            "create view t as select id from base",
        )
        cursor = {"incremental": {"cursor": "id"}}
        uploader.run(["t"], "append", **cursor)
        uploader.source.execute("insert into base select generate_series(20001, 40000)")
        with uploader.warehouse.connect() as blocker:
            self._kill_before_the_record(uploader, blocker, **cursor)
        uploader.source.execute("insert into base select generate_series(40001, 40005)")
        uploader.run(["t"], "append", **cursor)
        assert _counts(uploader) == [(40_005, 40_005)]

    def _kill_during_the_copy(self, uploader: Uploader) -> None:
        uploader.source.execute(_slow_view(seconds=4))
        child = self._start(uploader)
        self._wait_for(uploader, _COPY_RUNS)
        self._kill(child)
        uploader.source.execute("create or replace view t as select id from base")

    def _kill_after_the_commit(self, uploader: Uploader) -> None:
        with uploader.warehouse.connect() as blocker:
            self._kill_before_the_record(uploader, blocker)
            uploader.warehouse.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where wait_event_type = 'Lock' and datname = current_database()"
            )
        assert _counts(uploader) == [(40_000, 20_000)]

    def _kill_before_the_record(
        self, uploader: Uploader, blocker: psycopg.Connection, **settings: Any
    ) -> None:
        uploader.source.execute(_slow_view(seconds=1))
        child = self._start(uploader, **settings)
        self._wait_for(uploader, _COPY_RUNS)
        blocker.autocommit = False
        # dlt can read its record of loads, but not write the one of this load.
        blocker.execute("lock table raw._dlt_loads in share row exclusive mode")
        self._wait_for(uploader, "select (count(*) = 40000)::int from raw.t")
        self._wait_for(
            uploader,
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            " and query like '%_dlt_loads%' and datname = current_database()",
        )
        self._kill(child)
        uploader.source.execute("create or replace view t as select id from base")

    def _start(self, uploader: Uploader, **settings: Any) -> "subprocess.Popen[bytes]":
        child = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE)
        given = {
            "work_dir": str(uploader.new_job().work_dir),
            "payload": uploader.payload(["t"], "append", **settings),
            "secrets": uploader.secrets,
        }
        assert child.stdin is not None
        child.stdin.write(json.dumps(given).encode())
        child.stdin.close()
        return child

    def _wait_for(self, uploader: Uploader, query: str) -> None:
        deadline = time.monotonic() + 30
        while not uploader.warehouse.value(query):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _kill(self, child: "subprocess.Popen[bytes]") -> None:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


class TestIncremental:
    def test_reads_only_what_is_new(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t as select generate_series(1, 100) id")
        cursor = {"incremental": {"cursor": "id", "initial_value": 11}}
        assert _rows(uploader.run(["t"], "append", **cursor)) == 90
        assert _rows(uploader.run(["t"], "append", **cursor)) == 0
        uploader.source.execute("insert into t select generate_series(101, 110)")
        assert _rows(uploader.run(["t"], "append", **cursor)) == 10
        assert _counts(uploader) == [(100, 100)]

    def test_the_cursor_moves_only_when_the_load_is_complete(self, uploader: Uploader) -> None:
        uploader.source.execute(
            "create table base (id int, d int)",
            "insert into base values (1, 1), (2, 0)",
            "create view t as select id, 1 / d as x from base",
        )
        cursor = {"incremental": {"cursor": "id"}}
        with pytest.raises(JobError, match="division by zero"):
            uploader.run(["t"], "append", **cursor)
        uploader.source.execute("update base set d = 1")
        assert _rows(uploader.run(["t"], "append", **cursor)) == 2

    def test_timestamps_keep_their_microseconds(self, uploader: Uploader) -> None:
        uploader.source.execute(
            "create table t (id int, at timestamptz)",
            "insert into t values (1, '2013-01-01 00:00:00.000001+00')",
        )
        cursor = {"incremental": {"cursor": "at"}}
        uploader.run(["t"], "append", **cursor)
        uploader.source.execute("insert into t values (2, '2013-01-01 00:00:00.000002+00')")
        assert _rows(uploader.run(["t"], "append", **cursor)) == 1

    def test_an_empty_table_has_no_cursor_yet(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (id int)")
        cursor = {"incremental": {"cursor": "id"}}
        assert _rows(uploader.run(["t"], "append", **cursor)) == 0
        uploader.source.execute("insert into t values (1)")
        assert _rows(uploader.run(["t"], "append", **cursor)) == 1

    def test_rows_without_a_cursor_are_left_out_aloud(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (id int)", "insert into t values (1), (null)")
        job = uploader.run(["t"], "append", incremental={"cursor": "id"})
        assert _rows(job) == 1
        assert ("warning", 'public.t: rows whose cursor "id" is NULL are left out') in job.logs

    def test_another_cursor_starts_from_the_beginning(self, uploader: Uploader) -> None:
        uploader.source.execute(
            "create table t (id int primary key, day date)",
            "insert into t values (1, '2013-01-01')",
        )
        uploader.run(["t"], "merge", incremental={"cursor": "id"})
        assert _rows(uploader.run(["t"], "merge", incremental={"cursor": "day"})) == 1

    @pytest.mark.parametrize(
        ("disposition", "cursor", "code"),
        [("replace", "id", "upload.invalid"), ("append", "nope", "upload.column_missing")],
    )
    def test_is_refused_where_it_cannot_work(
        self, uploader: Uploader, disposition: str, cursor: str, code: str
    ) -> None:
        uploader.source.execute("create table t (id int)")
        with pytest.raises(JobError) as caught:
            uploader.run(["t"], disposition, incremental={"cursor": cursor})
        assert caught.value.code == code


class TestMerge:
    def test_updates_by_key_and_keeps_the_rest(self, uploader: Uploader) -> None:
        uploader.source.execute(
            "create table t (id int primary key, v text)",
            "insert into t select i, 'old' from generate_series(1, 5) i",
        )
        uploader.run(["t"], "merge")
        uploader.source.execute("delete from t where id < 3", "update t set v = 'new' where id = 3")
        uploader.source.execute("insert into t values (6, null)")
        uploader.run(["t"], "merge")
        assert uploader.warehouse.rows("select id, v from raw.t order by id") == [
            (1, "old"),
            (2, "old"),
            (3, "new"),
            (4, "old"),
            (5, "old"),
            (6, None),
        ]
        assert (
            uploader.warehouse.rows("select relname from pg_class where relname like '%stage%'")
            == []
        )

    def test_rereads_the_boundary_of_the_cursor(self, uploader: Uploader) -> None:
        uploader.source.execute(
            "create table t (id int primary key, day int)", "insert into t values (1, 1), (2, 2)"
        )
        cursor = {"incremental": {"cursor": "day"}}
        uploader.run(["t"], "merge", **cursor)
        uploader.source.execute("insert into t values (3, 2), (4, 1)")
        assert _rows(uploader.run(["t"], "merge", **cursor)) == 2
        assert uploader.warehouse.rows("select id from raw.t order by id") == [(1,), (2,), (3,)]

    def test_with_a_composite_awkward_key(self, uploader: Uploader) -> None:
        uploader.source.execute(
            'create table t ("a b" int, "Ü""x" text, v int, primary key ("a b", "Ü""x"))',
            "insert into t values (1, '', 1), (1, 'x', 2)",
        )
        uploader.run(["t"], "merge")
        uploader.source.execute("update t set v = v + 10")
        uploader.run(["t"], "merge")
        assert uploader.warehouse.rows("select v from raw.t order by v") == [(11,), (12,)]

    @pytest.mark.parametrize(
        ("rows", "reason"), [("(1), (1)", "share one"), ("(1), (null)", "NULL in it")]
    )
    def test_a_key_that_does_not_identify_is_refused(
        self, uploader: Uploader, rows: str, reason: str
    ) -> None:
        uploader.source.execute(
            "create table t (id int)",
            f"insert into t values {rows}",
        )
        payload = uploader.payload(["t"], "merge")
        payload["upload"]["tables"][0]["primary_key"] = ["id"]
        with pytest.raises(JobError, match=reason) as caught:
            upload_job.run(uploader.new_job(), payload, uploader.secrets)
        assert caught.value.field == "primary_key"
        assert uploader.warehouse.value("select count(*) from raw.t") == 0

    def test_needs_a_key(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (id int)")
        with pytest.raises(JobError, match="needs a primary key"):
            uploader.run(["t"], "merge")


def test_a_second_run_of_the_same_upload_waits(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploader.source.execute("create table t (id int)")
    monkeypatch.setattr("datanika_dagster.uploads.job.LOCK_WAIT_SECONDS", 0.2)
    job = uploader.new_job()
    with uploader.warehouse.connect() as other:
        other.execute("select pg_advisory_lock(%s)", [lock_key("upload", "acme__orders")])
        with pytest.raises(JobError) as caught:
            uploader.run_job(job, ["t"])
    assert caught.value.code == "upload.busy"
    assert caught.value.is_retryable
    assert "Waiting for another run" in job.text


def _rows(job: Any) -> int:
    return next(iter(job.materializations.values()))["dagster/row_count"]
