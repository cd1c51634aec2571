"""Every type arrives as the same type with the same value, or is refused by name."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads.target_table import widens
from tests.datanika_dagster.uploads.conftest import Uploader

EXACT = {
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "numeric": ["1" + "0" * 200 + "." + "0" * 100 + "1", "NaN", "Infinity", "-0.10"],
    "numeric(38,18)": ["12345678901234567890.123456789012345678"],
    "numeric(5,2)": ["-999.99", "1.10"],
    "numeric(3,-2)": ["12300"],
    "real": ["1.1", "-Infinity", "1e-45"],
    "double precision": ["0.1", "NaN", "5e-324", "1.7976931348623157e308"],
    "boolean": ["true", "false"],
    "text": ["", " ", "\\N", "NULL", "a\tb\nc\r", "日本語 🦆", "'; drop table x; --"],
    "character varying(10)": ["", "ä"],
    "character varying": ["x"],
    "character(4)": ["ab", ""],
    '"char"': ["a"],
    "name": ["some_name"],
    "bytea": ["\\x", "\\x00ff10"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "json": ['{"b":1.10, "a" : [1e2], "a":null}'],
    "jsonb": ['{"a": 1.10, "b": "\\u00e4"}'],
    "jsonpath": ["$.a[*]"],
    "date": ["infinity", "0044-03-15 BC", "2013-01-01"],
    "time without time zone": ["24:00:00", "00:00:00.000001"],
    "time(3) without time zone": ["12:34:56.789"],
    "time with time zone": ["12:00:00+05:30"],
    "timestamp without time zone": ["-infinity", "294276-12-31 23:59:59.999999"],
    "timestamp(3) without time zone": ["2013-01-01 00:00:00.123"],
    "timestamp with time zone": ["infinity", "2013-10-27 00:30:00+00", "4713-01-01 00:00:00+00 BC"],
    "interval": ["1 year -2 mons 3 days -04:05:06.789", "-00:00:01"],
    "interval day to second(2)": ["1 day 00:00:01.5"],
    "inet": ["192.168.0.1/24", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit(3)": ["101"],
    "bit varying(5)": ["10"],
    "point": ["(1.5,-2)"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "tsvector": ["'a':1 'b':2A"],
    "tsquery": ["'a' & 'b'"],
    "int4range": ["[1,5)", "empty"],
    "tstzrange": ["[2013-01-01 00:00:00+00,)"],
    "int8multirange": ["{[1,3),[5,7)}"],
    "integer[]": ["{}", "{1,NULL,3}", "[2:3]={4,5}", "{{1,2},{3,4}}"],
    "text[]": ['{"",NULL,"NULL","a,b"}'],
    "numeric(10,4)[]": ["{1.1000,NaN}"],
    "pg_lsn": ["16/B374D848"],
    "oid": ["4294967295"],
}


def _copied(uploader: Uploader, query: str = "select * from {} order by 1") -> tuple[Any, Any]:
    return (
        uploader.source.rows(query.format("public.t")),
        uploader.warehouse.rows(query.format("raw.t")),
    )


def test_every_type_arrives_as_itself(uploader: Uploader) -> None:
    columns = ", ".join(f"c{i} {name}" for i, name in enumerate(EXACT))
    uploader.source.execute(f"create table t (id int, {columns})")
    with uploader.source.connect() as connection:
        for row in range(7):
            values = [samples[row % len(samples)] for samples in EXACT.values()]
            marks = ", ".join(f"%s::text::{name}" for name in EXACT)
            connection.execute(f"insert into t values ({row}, {marks})", values)
        connection.execute("insert into t (id) values (7)")

    uploader.run(["t"])

    kinds = (
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = '{}'::regclass and attnum > 0 and attname <> '_dlt_load_id' order by 1"
    )
    before, after = _copied(uploader, kinds)
    assert after == before
    texts = ", ".join(f"c{i}::text" for i in range(len(EXACT)))
    before, after = _copied(uploader, f"select id, {texts} from {{}} order by id")
    assert after == before
    assert len(after) == 8


def test_user_defined_types_arrive_as_their_base(uploader: Uploader) -> None:
    uploader.source.execute(
        "create type mood as enum ('sad', 'it''s ok')",
        "create domain price as numeric(10,2) check (value > 0)",
        "create domain net_price as price",
        "create table t (m mood, ms mood[], p net_price, ps price[], money money)",
        "insert into t values ('it''s ok', '{sad,NULL}', 1.10, '{2.20}', '-12.34'), (null, null, null, null, null)",
    )
    job = uploader.run(["t"])
    columns = job.materializations[("acme", "warehouse", "raw", "t")]["dagster/column_schema"]
    types = [column["type"] for column in columns["raw_value"]["columns"]]
    assert types == ["text", "text[]", "numeric(10,2)", "numeric(10,2)[]", "numeric"]
    assert "the labels of the enum" in columns["raw_value"]["columns"][0]["description"]
    assert uploader.warehouse.rows(
        "select m, ms::text, p::text, ps::text, money::text from raw.t"
    ) == [
        ("it's ok", "{sad,NULL}", "1.10", "{2.20}", "-12.34"),
        (None,) * 5,
    ]


@pytest.mark.parametrize(
    ("type_name", "reason"),
    [
        ("pair", "composite"),
        ("regclass", "number of an object"),
        ("pair[]", "composite"),
        ("xid", "cluster"),
    ],
)
def test_other_types_are_refused_by_name(uploader: Uploader, type_name: str, reason: str) -> None:
    uploader.source.execute(
        "create type pair as (a int, b int)", f"create table t (ok int, bad {type_name})"
    )
    with pytest.raises(JobError, match=reason) as caught:
        uploader.run(["t"])
    assert caught.value.code == "upload.type_refused"
    assert caught.value.field == "bad"
    assert '"bad"' in caught.value.message
    assert uploader.warehouse.rows("select from pg_namespace where nspname = 'raw'") == []


_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
_DECIMAL = st.decimals(allow_infinity=False, allow_nan=False).filter(
    lambda number: abs(number.adjusted()) < 1000
)


@given(
    rows=st.lists(
        st.tuples(
            st.none() | _DECIMAL,
            st.none() | _TEXT,
            st.none() | st.floats(),
            st.none() | st.binary(max_size=30),
            st.none() | st.timedeltas(),
            st.none() | st.lists(st.none() | _TEXT, max_size=4),
            st.none() | st.dictionaries(_TEXT, st.integers() | _TEXT, max_size=3),
        ),
        max_size=12,
    )
)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_values_arrive_unchanged(uploader: Uploader, rows: list[tuple[Any, ...]]) -> None:
    uploader.source.execute(
        "drop table if exists t",
        "create table t (id serial, n numeric, s text, f float8, b bytea, i interval, a text[], j jsonb)",
    )
    with uploader.source.connect() as connection:
        for row in rows:
            *plain, document = row
            connection.execute(
                "insert into t (n, s, f, b, i, a, j) values (%s, %s, %s, %s, %s, %s, %s)",
                [*plain, None if document is None else Jsonb(document)],
            )

    uploader.run(["t"])

    # Compared by the servers' own text and, for floats, by their bits.
    query = (
        "select id, n::text, s, encode(float8send(f), 'hex'), b, i::text, a::text, j::text"
        " from {} order by id"
    )
    before, after = _copied(uploader, query)
    assert after == before


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        ("smallint", "bigint", True),
        ("bigint", "integer", False),
        ("integer", "numeric", True),
        ("integer", "numeric(10,0)", True),
        ("integer", "numeric(10,2)", False),
        ("numeric(10,2)", "numeric(12,4)", True),
        ("numeric(10,2)", "numeric(11,4)", False),
        ("numeric", "numeric(38,9)", False),
        ("real", "double precision", True),
        ("double precision", "numeric", False),
        ("character varying(10)", "character varying(20)", True),
        ("character varying", "character varying(20)", False),
        ("character varying(10)", "text", True),
        ("character(10)", "text", False),
        ("timestamp without time zone", "timestamp with time zone", False),
        ("text", "text", False),
    ],
)
def test_widens(narrow: str, wide: str, expected: bool) -> None:
    assert widens(narrow, wide) is expected


class TestChangedColumns:
    def test_new_column_is_added_and_lost_one_is_null(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (a int, b int)", "insert into t values (1, 2)")
        uploader.run(["t"], "append")
        uploader.source.execute("alter table t drop b", "alter table t add c text default 'x'")
        uploader.run(["t"], "append")
        rows = uploader.warehouse.rows("select a, b, c from raw.t order by b")
        assert rows == [(1, 2, None), (1, None, "x")]

    def test_grown_type_widens_the_destination(self, uploader: Uploader) -> None:
        uploader.source.execute(
            "create table t (a smallint, v varchar(3))", "insert into t values (1, 'abc')"
        )
        uploader.run(["t"], "append")
        uploader.source.execute(
            "alter table t alter a type bigint, alter v type text",
            "update t set a = 9223372036854775807",
        )
        uploader.run(["t"], "append")
        rows = uploader.warehouse.rows("select a, v, pg_typeof(a)::text from raw.t order by a")
        assert rows == [(1, "abc", "bigint"), (9223372036854775807, "abc", "bigint")]

    def test_shrunken_type_is_cast(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (a bigint)", "insert into t values (1)")
        uploader.run(["t"])
        uploader.source.execute("alter table t alter a type smallint")
        uploader.run(["t"])
        assert uploader.warehouse.rows("select a, pg_typeof(a)::text from raw.t") == [(1, "bigint")]

    def test_lossy_change_is_refused(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (a int)", "insert into t values (1)")
        uploader.run(["t"])
        uploader.source.execute("alter table t alter a type text")
        with pytest.raises(
            JobError, match="is text in the source and integer in the destination"
        ) as caught:
            uploader.run(["t"])
        assert caught.value.code == "upload.schema_changed"
        assert caught.value.field == "a"
        assert uploader.warehouse.rows("select a from raw.t") == [(1,)]

    @pytest.mark.parametrize("mode", ["freeze", "discard_value", "discard_row"])
    def test_contract_on_a_new_column(self, uploader: Uploader, mode: str) -> None:
        uploader.source.execute("create table t (a int)", "insert into t values (1)")
        uploader.run(["t"])
        uploader.source.execute("alter table t add b int", "insert into t values (2, 2)")
        run: Callable[[], Any] = lambda: uploader.run(["t"], schema_contract={"columns": mode})  # noqa: E731
        if mode == "freeze":
            with pytest.raises(JobError, match='"b"'):
                run()
            return
        run()
        expected = [(1,), (2,)] if mode == "discard_value" else [(1,)]
        assert uploader.warehouse.rows("select a from raw.t order by a") == expected

    def test_contract_on_a_new_table(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (a int)")
        with pytest.raises(JobError, match="forbids new tables"):
            uploader.run(["t"], schema_contract={"tables": "freeze"})
        uploader.run(["t"])
        uploader.run(["t"], schema_contract={"tables": "freeze"})

    def test_widening_below_a_view_is_refused(self, uploader: Uploader) -> None:
        uploader.source.execute("create table t (a int)", "insert into t values (1)")
        uploader.run(["t"])
        uploader.warehouse.execute("create view raw.v as select a from raw.t")
        uploader.source.execute("alter table t alter a type bigint")
        with pytest.raises(JobError, match="used by a view"):
            uploader.run(["t"])
        assert uploader.warehouse.rows("select a from raw.v") == [(1,)]


def test_not_a_number_is_one(uploader: Uploader) -> None:
    uploader.source.execute("create table t (f float8)", "insert into t values ('NaN'), ('-0')")
    uploader.run(["t"])
    values = [row[0] for row in uploader.warehouse.rows("select f from raw.t order by f")]
    assert math.copysign(1, values[0]) == -1
    assert math.isnan(values[1])
