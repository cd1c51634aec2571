import pytest

from tests.datanika_dagster.transformations import projects


@pytest.fixture(scope="module")
def preview(jobs, warehouse):
    warehouse.execute("CREATE SCHEMA raw")
    warehouse.execute("CREATE TABLE raw.numbers AS SELECT generate_series(1, 500) AS n")

    def run(sql, **more):
        payload = {"connection": "warehouse", "project": None, "sql": sql, "limit": 100, **more}
        return jobs("preview_job", payload, {"warehouse": warehouse.secret})

    return run


def test_values_are_not_rounded(preview):
    answer = preview(
        "select 12345678901234567890.123456789 as d, 9007199254740993::int8 as big, 7 as small,"
        " 'NaN'::float8 as nan, 0.1::float8 as f, true as b, null as nothing,"
        " '2013-01-01 05:00+00'::timestamptz as at, array[1.10, 2] as a, '{\"x\": 1.10}'::json as j,"
        " 1.5::numeric(10, 2) as money; -- done"
    )

    assert answer.error is None
    assert answer.value["rows"] == [
        ["12345678901234567890.123456789", "9007199254740993", 7, "nan", 0.1, True, None,
         "2013-01-01 05:00:00+00", "{1.10,2}", '{"x": 1.10}', "1.50"]
    ]  # fmt: skip
    types = {column["name"]: column["type"] for column in answer.value["columns"]}
    assert types["money"] == "numeric(10,2)"
    assert types["a"] == "numeric[]"


def test_at_most_a_hundred_rows(preview):
    assert len(preview("select * from raw.numbers", limit=100_000).value["rows"]) == 100
    assert len(preview("select * from raw.numbers", limit=3).value["rows"]) == 3


def test_references_compile_and_the_reader_asks(preview):
    project = projects.source(
        projects.model("evens", "select 2 as n"), tables=(("raw", "numbers"),)
    )
    answer = preview(
        "{% if execute %}{% set user = run_query('select current_user').columns[0].values()[0] %}"
        "{% endif %}select '{{ user }}' as who, max(n) from {{ source('raw', 'numbers') }}",
        project=project.model_dump(mode="json"),
    )

    assert answer.error is None
    who, largest = answer.value["rows"][0]
    assert who.endswith("_reader")
    assert largest == 500
    assert '"raw"."numbers"' in answer.value["compiled_sql"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select 1; drop table raw.numbers", "multiple commands"),
        ("drop table raw.numbers", "syntax error"),
        ("with gone as (delete from raw.numbers returning 1) select * from gone", "WITH"),
        ("commit", "syntax error"),
        ("select set_config('transaction_read_only', 'off', false)", "read-write mode"),
        ("select * from nowhere", 'relation "nowhere" does not exist'),
        ("selct 1", "syntax error"),
        ("create table raw.x as select 1", "syntax error"),
    ],
)
def test_nothing_but_a_query_is_run(preview, warehouse, sql, message):
    answer = preview(sql)

    assert answer.error["code"] == "preview.failed"
    assert message in answer.error["message"]
    assert warehouse.rows("SELECT count(*) FROM raw.numbers") == [(500,)]


def test_jinja_that_cannot_be_compiled_is_a_clear_error(preview):
    answer = preview("select * from {{ ref('nowhere') }}")

    assert answer.error["code"] == "transformation.invalid"
    assert "nowhere" in answer.error["message"]
    assert "/" not in answer.error["message"]
