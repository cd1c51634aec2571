"""What an append may delete, and what an incremental load must not skip for ever."""

import pytest

from datanika_dagster.connectors.registry import endpoint
from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads import lock
from tests.datanika_dagster.databases import LOOPBACK, RecordingJob
from tests.datanika_dagster.uploads.conftest import Uploader

_PENDING = "select count(*) from raw._datanika_pending_loads"


def _ids(uploader: Uploader) -> list[int]:
    return [row[0] for row in uploader.warehouse.rows("select id from raw.t order by id")]


class TestAppendKeeps:
    def test_rows_whose_load_somebody_tidied_away(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t as select generate_series(1, 3) id")
        uploader.run(["t"], "append")
        uploader.warehouse.execute("delete from raw._dlt_loads")
        uploader.run(["t"], "append")
        assert _ids(uploader) == [1, 1, 2, 2, 3, 3]
        assert uploader.warehouse.value(_PENDING) == 0

    def test_rows_of_another_upload_that_is_not_complete_yet(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t as select generate_series(1, 3) id")
        uploader.run(["t"], "append", slug="first")
        uploader.warehouse.execute(
            "insert into raw.t values (7, '1.23')",
            "insert into raw._datanika_pending_loads values ('1.23', 'acme__second', 't')",
        )
        uploader.run(["t"], "append", slug="first")
        assert _ids(uploader) == [1, 1, 2, 2, 3, 3, 7]
        uploader.run(["t"], "append", slug="second")
        assert _ids(uploader) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


class TestCursor:
    @pytest.mark.parametrize("disposition", ["append", "merge"])
    def test_a_table_that_was_dropped_is_loaded_again(
        self, uploader: Uploader, disposition: str
    ) -> None:
        uploader.source.execute("create table t as select generate_series(1, 3) id")
        uploader.source.execute("alter table t add primary key (id)")
        cursor = {"incremental": {"cursor": "id"}}
        uploader.run(["t"], disposition, **cursor)
        uploader.warehouse.execute("drop table raw.t")
        uploader.run(["t"], disposition, **cursor)
        assert _ids(uploader) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("kind", "values", "next_value"),
        [
            ("timestamptz", ["2013-01-01", "infinity", "-infinity"], "2013-01-02"),
            ("date", ["2013-01-01", "infinity", "-infinity"], "2013-01-02"),
            ("double precision", ["1.5", "NaN", "Infinity"], "1.6"),
            ("numeric", ["1.5", "NaN", "Infinity"], "1.6"),
            ("numeric(10,2)", ["1.5", "NaN", "NaN"], "1.6"),
        ],
    )
    def test_endless_values_are_loaded_and_never_become_the_cursor(
        self, uploader: Uploader, kind: str, values: list[str], next_value: str
    ) -> None:
        uploader.source.execute(f"create table t (id int, at {kind})")
        for number, value in enumerate(values, start=1):
            uploader.source.execute(f"insert into t values ({number}, '{value}')")
        cursor = {"incremental": {"cursor": "at"}}
        job = uploader.run(["t"], "append", **cursor)
        assert _ids(uploader) == [1, 2, 3]
        rows = 'public.t: rows whose cursor "at" is infinite or NaN are'
        warning = f"{rows} loaded in this run; they do not move the cursor"
        assert ("warning", warning) in job.logs

        uploader.source.execute(f"insert into t values (4, '{next_value}')")
        job = uploader.run(["t"], "append", **cursor)
        assert _ids(uploader) == [1, 2, 3, 4]
        assert ("warning", f"{rows} left out") in job.logs

    def test_without_a_finite_value_there_is_no_cursor(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (id int, at date)")
        uploader.source.execute("insert into t values (1, 'infinity')")
        cursor = {"incremental": {"cursor": "at"}}
        job = uploader.run(["t"], "append", **cursor)
        assert _ids(uploader) == []
        assert 'cursor "at" is infinite or NaN are left out' in job.text

    def test_a_text_that_reads_infinity_is_a_text(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (id int, name text)")
        uploader.source.execute("insert into t values (1, 'a'), (2, 'infinity')")
        job = uploader.run(["t"], "append", incremental={"cursor": "name"})
        assert _ids(uploader) == [1, 2]
        assert "infinite" not in job.text


class _LosesItsLock(RecordingJob):
    """After its first table somebody ends the session that holds the upload's lock."""

    uploader: Uploader

    def materialized(self, *args: object, **more: object) -> None:
        super().materialized(*args, **more)
        self.uploader.warehouse.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where application_name like '%lock' and datname = current_database()"
        )


class TestLock:
    def test_no_table_is_loaded_after_it_was_lost(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (id int)", "create table u (id int)")
        job = _LosesItsLock(uploader.new_job().work_dir)
        job.uploader = uploader
        with pytest.raises(JobError, match="The lock of upload 'acme__orders' was lost") as caught:
            uploader.run_job(job, ["t", "u"], "append")
        assert caught.value.code == "upload.lock_lost"
        assert caught.value.is_retryable
        assert [key[-1] for key in job.materializations] == ["t"]
        assert uploader.warehouse.value("select to_regclass('raw.u')") is None

    def test_its_session_waits_for_as_long_as_it_takes(self, uploader: Uploader) -> None:
        uploader.warehouse.execute(
            f"alter database {uploader.warehouse.name} set idle_session_timeout = '1s'"
        )
        with uploader.warehouse.connect() as connection:
            shown = connection.execute("show idle_session_timeout").fetchone()
            assert shown == ("1s",)
        job = uploader.new_job()
        destination = endpoint(uploader.warehouse.secret, LOOPBACK)
        with lock.upload_lock(job, destination, lock.lock_key("x"), "x") as held:
            connection = held._connection
            assert connection.execute("show idle_session_timeout").fetchone() == ("0",)
            held.verify()
