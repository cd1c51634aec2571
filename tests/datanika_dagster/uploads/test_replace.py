"""Replace: exact, atomic for readers, and friendly to views."""

import threading

import pytest

from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads.job import run
from tests.datanika_dagster.uploads.conftest import Uploader


def test_replaces_and_reports(uploader: Uploader) -> None:
    uploader.source.execute("create table t (id int, v text)", "insert into t values (1, 'a')")
    uploader.run(["t"])
    uploader.source.execute("truncate t", "insert into t values (2, ''), (3, null)")

    job = uploader.run(["t"])

    assert uploader.warehouse.rows("select id, v from raw.t order by id") == [(2, ""), (3, None)]
    metadata = job.materializations[("acme", "warehouse", "raw", "t")]
    assert metadata["dagster/row_count"] == 2
    assert metadata["datanika/backend"] == "copy_pipe"
    assert metadata["datanika/size_bytes"] > 0
    columns = metadata["dagster/column_schema"]["raw_value"]["columns"]
    assert [(c["name"], c["type"]) for c in columns] == [("id", "integer"), ("v", "text")]


def test_empty_table_is_made_and_emptied(uploader: Uploader) -> None:
    uploader.source.execute("create table t (id int)")
    uploader.run(["t"])
    assert uploader.warehouse.value("select count(*) from raw.t") == 0
    uploader.source.execute("insert into t select generate_series(1, 10)")
    uploader.run(["t"])
    assert uploader.warehouse.value("select count(*) from raw.t") == 10
    uploader.source.execute("delete from t")
    job = uploader.run(["t"])
    assert uploader.warehouse.value("select count(*) from raw.t") == 0
    assert job.materializations[("acme", "warehouse", "raw", "t")]["dagster/row_count"] == 0


def test_views_stay_and_readers_see_all_or_nothing(uploader: Uploader) -> None:
    uploader.source.execute(
        "create table t as select i, 'x' || i v from generate_series(1, 60000) i"
    )
    uploader.run(["t"])
    uploader.warehouse.execute("create view raw.v as select i, v from raw.t")
    uploader.source.execute("insert into t select i, 'y' from generate_series(1, 20000) i")
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        with uploader.warehouse.connect() as connection:
            while not stop.is_set():
                row = connection.execute("select count(*) from raw.v").fetchone()
                assert row is not None
                seen.add(row[0])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        uploader.run(["t"])
        uploader.run(["t"])
    finally:
        stop.set()
        reader.join()

    assert seen <= {60_000, 80_000}
    assert uploader.warehouse.value("select count(*) from raw.v") == 80_000


def test_readers_are_never_blocked(uploader: Uploader) -> None:
    uploader.source.execute("create table t as select generate_series(1, 100) i")
    uploader.run(["t"])
    with uploader.warehouse.connect() as reader:
        reader.autocommit = False
        reader.execute("set transaction isolation level repeatable read")
        assert reader.execute("select count(*) from raw.t").fetchone() == (100,)
        uploader.source.execute("delete from t where i > 5")
        uploader.run(["t"])  # would wait for ever if it needed more than a row-exclusive lock
        assert reader.execute("select count(*) from raw.t").fetchone() == (100,)
    assert uploader.warehouse.value("select count(*) from raw.t") == 5


def test_a_failing_copy_leaves_the_old_rows(uploader: Uploader) -> None:
    uploader.source.execute("create table t (i int)", "insert into t values (1), (2)")
    uploader.run(["t"])
    uploader.source.execute(
        "alter table t rename to base",
        "insert into base values (0)",
        "create view t as select 10 / i as i from base",
    )
    with pytest.raises(JobError, match="division by zero") as caught:
        uploader.run(["t"])
    assert caught.value.code == "upload.source_failed"
    assert not caught.value.is_retryable
    assert uploader.warehouse.rows("select i from raw.t order by i") == [(1,), (2,)]


def test_the_table_does_not_grow(uploader: Uploader) -> None:
    uploader.source.execute(
        "create table t as select i, repeat('x', 100) v from generate_series(1, 20000) i"
    )
    size = "select pg_total_relation_size('raw.t')"
    uploader.run(["t"])
    first = uploader.warehouse.value(size)
    for _ in range(4):
        uploader.run(["t"])
    assert uploader.warehouse.value(size) <= 2.1 * first


def test_other_tables_are_loaded_when_one_fails(uploader: Uploader) -> None:
    uploader.source.execute(
        "create table a (i int)", "create table c (i int)", "insert into c values (1)"
    )
    job = uploader.new_job()
    with pytest.raises(JobError) as caught:
        uploader.run_job(job, ["a", "b", "c"])
    assert caught.value.code == "upload.table_missing"
    assert '1 of 3 tables failed. b: The source has no table "public"."b"' in caught.value.message
    assert [key[-1] for key in job.materializations] == ["a", "c"]
    assert uploader.warehouse.value("select count(*) from raw.c") == 1


def test_a_dropped_table_comes_back(uploader: Uploader) -> None:
    uploader.source.execute("create table t (i int)", "insert into t values (1)")
    uploader.run(["t"])
    uploader.warehouse.execute("drop table raw.t")
    uploader.run(["t"])
    assert uploader.warehouse.value("select count(*) from raw.t") == 1


def test_only_the_selected_tables_are_loaded(uploader: Uploader) -> None:
    uploader.source.execute("create table a (i int)", "create table b (i int)")
    job, payload = uploader.new_job(), uploader.payload(["a", "b"])
    run(job, {**payload, "tables": [["acme", "warehouse", "raw", "b"]]}, uploader.secrets)
    assert [key[-1] for key in job.materializations] == ["b"]
