"""Awkward names and hostile values reach PostgreSQL as names and values, nothing else."""

from typing import Any

import pytest

from datanika_dagster.launcher.job import JobError
from tests.datanika_dagster.uploads.conftest import Uploader

COLUMNS = [
    "Upper",
    "with space",
    " lead and trail ",
    'quo"te',
    "quo'te",
    "select",
    "ключ",
    "emoji🦆",
    "a.b",
    "a__b",
    "percent%s",
    "brace{0}",
    "semi;colon",
    "back\\slash",
    "new\nline",
    "▶",
    "userID",
    "user_id",
    "x" * 63,
    "_dlt_id",
    " ",
]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_every_name_arrives_as_it_is(uploader: Uploader) -> None:
    columns = ", ".join(f"{_quoted(name)} int default {i}" for i, name in enumerate(COLUMNS))
    table = 'Odd "Table";\'%'
    uploader.source.execute(
        f"create table {_quoted(table)} ({columns})",
        f"insert into {_quoted(table)} default values",
    )
    for disposition in ("replace", "append"):
        uploader.run([table], disposition)
    names = uploader.warehouse.rows(
        "select attname from pg_attribute where attrelid = 'raw.table_0'::regclass and attnum > 0"
        " and attname <> '_dlt_load_id' order by attnum"
    )
    assert [name for (name,) in names] == COLUMNS
    rows = uploader.warehouse.rows("select * from raw.table_0")
    assert [row[:-1] for row in rows] == [tuple(range(len(COLUMNS)))] * 2


def test_a_table_that_was_itself_loaded(uploader: Uploader) -> None:
    uploader.source.execute(
        "create table t (_dlt_load_id text, id int)", "insert into t values ('theirs', 1)"
    )
    job = uploader.run(["t"])
    load_id = job.materializations[("acme", "warehouse", "raw", "t")]["datanika/load_id"]
    assert uploader.warehouse.rows("select id, _dlt_load_id from raw.t") == [(1, load_id)]
    assert "its own _dlt_load_id is replaced" in job.text


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("eq", 2, [2]),
        ("ne", 2, [1, 3]),
        ("gt", 1.5, [2, 3]),
        ("gte", "2", [2, 3]),
        ("lt", 2, [1]),
        ("lte", 2, [1, 2]),
        ("in", [1, 3, 99], [1, 3]),
        ("in", [], []),
        ("in", [1, None], [1, None]),
        ("not_in", [1, 3], [2]),
        ("not_in", [], [1, 2, 3, None]),
        ("not_in", [1, None], [2, 3]),
        ("eq", None, [None]),
        ("ne", None, [1, 2, 3]),
        ("gt", -1, [1, 2, 3]),
    ],
)
def test_filters(uploader: Uploader, op: str, value: Any, expected: list[Any]) -> None:
    uploader.source.execute("create table t (id int)", "insert into t values (1), (2), (3), (null)")
    uploader.run(["t"], filters=[{"column": "id", "op": op, "value": value}])
    assert [
        row[0] for row in uploader.warehouse.rows("select id from raw.t order by id")
    ] == expected


@pytest.mark.parametrize(
    "value", ["'; drop table t; --", "\\'", "%s", "{}", "ü🦆", "", "a''b", "$$", "\\x00"]
)
def test_hostile_text_is_only_compared(uploader: Uploader, value: str) -> None:
    with uploader.source.connect() as connection:
        connection.execute("create table t (v text)")
        connection.execute("insert into t values (%s), ('other'), (null)", [value])
    uploader.run(["t"], filters=[{"column": "v", "op": "eq", "value": value}])
    assert uploader.warehouse.rows("select v from raw.t") == [(value,)]
    uploader.run(["t"], filters=[{"column": "v", "op": "in", "value": [value, value]}])
    assert uploader.warehouse.rows("select v from raw.t") == [(value,)]


def test_filters_take_the_columns_type(uploader: Uploader) -> None:
    uploader.source.execute(
        "create table t (n numeric, d date, b bool, v varchar(3), u uuid)",
        "insert into t values (0.1, '2013-01-01', true, '7', '00000000-0000-0000-0000-000000000001')",
        "insert into t values (0.10000000000000001, '2012-01-01', false, '8', null)",
    )
    filters = [
        {"column": "n", "op": "eq", "value": 0.1},
        {"column": "d", "op": "gte", "value": "2013-01-01"},
        {"column": "b", "op": "eq", "value": True},
        {"column": "v", "op": "eq", "value": 7},
        {"column": "u", "op": "eq", "value": "00000000-0000-0000-0000-000000000001"},
    ]
    uploader.run(["t"], filters=filters)
    assert uploader.warehouse.value("select count(*) from raw.t") == 1


@pytest.mark.parametrize(
    ("row_filter", "code"),
    [
        ({"column": "nope", "op": "eq", "value": 1}, "upload.column_missing"),
        ({"column": "id", "op": "gt", "value": None}, "upload.invalid"),
        ({"column": "id", "op": "in", "value": 1}, "upload.invalid"),
        ({"column": "id", "op": "eq", "value": {"a": 1}}, "upload.invalid"),
        ({"column": "id", "op": "eq", "value": "abc"}, "upload.source_failed"),
    ],
)
def test_filters_that_cannot_work_are_refused(
    uploader: Uploader, row_filter: dict[str, Any], code: str
) -> None:
    uploader.source.execute("create table t (id int)")
    with pytest.raises(JobError) as caught:
        uploader.run(["t"], filters=[row_filter])
    assert caught.value.code == code
