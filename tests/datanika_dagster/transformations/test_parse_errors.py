"""What is refused when a project is parsed: each error names the model and no path."""

import pytest

from tests.datanika_dagster.transformations import projects

GOOD = projects.model("good", "select 1 as id")


@pytest.fixture(scope="module")
def parse(jobs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("projects")

    def run(*models, secrets=None, tables=()):
        payload = projects.payload(projects.source(GOOD, *models, tables=tables), directory)
        answer = jobs("parse_job", payload, secrets)
        assert not list(directory.rglob(".new-*"))
        return answer

    return run


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select * from {{ ref('nowhere') }}", "'nowhere' which was not found"),
        ("select * from {{ source('raw', 'nowhere') }}", "'raw.nowhere' which was not found"),
        ("select 1 as x,\n{{ 1 + }} as y", "line 2"),
        ("select {{ no_such_macro() }} as x", "'no_such_macro' is undefined"),
        ("select '{{ env_var('HOME') }}' || '{{ env_var('NOTHING') }}' as x", "NOTHING"),
        (
            "{% if execute %}{{ env_var('DBT_ENV_' ~ 'SECRET_DATANIKA_PASSWORD', 'x') }}{% endif %}"
            "select 1 as x",
            "Secret",
        ),
        ("{{ config(schema='raw') }} select 1 as x", "sets schema='raw'"),
        ("{% if true %}selct{% endif %} * form x", "not with 'selct'"),
        ("{{ config(enabled=false) }} select 1 as x", "enabled"),
        ("drop table raw.flights", "not with 'drop'"),
    ],
)
def test_a_wrong_model_is_named(parse, sql, message):
    answer = parse(projects.model("wrong", sql))

    assert answer.error["code"] == "transformation.invalid"
    assert answer.error["field"] == "wrong"
    assert message in answer.error["message"]
    assert "wrong" in answer.error["message"]
    assert str(answer.work_dir.parent) not in answer.error["message"]


def test_a_cycle_is_refused(parse):
    answer = parse(
        projects.model("first", "select * from {{ ref('second') }}"),
        projects.model("second", "select * from {{ ref('first') }}"),
    )

    assert answer.error["field"] in ("first", "second")
    assert "cycle" in answer.error["message"]


def test_with_the_warehouse_the_grammar_is_postgresqls(parse, warehouse):
    wrong = projects.model("wrong", "select *\nform {{ ref('good') }}")
    answer = parse(wrong, secrets={"warehouse": warehouse.secret})

    assert answer.error["field"] == "wrong"
    assert 'syntax error at or near "form" (line 2)' in answer.error["message"]


def test_what_the_grammar_allows_is_not_refused(parse, warehouse):
    # Neither the table nor the columns exist yet, and sqlglot knows none of these constructs.
    odd = projects.model(
        "odd",
        '/* a /* b */ */ select a collate "C", json_array(1, 2 absent on null), b::bit varying(3)'
        " from only (nowhere.yet) order by 1 using > -- last",
    )
    introspective = projects.model(
        "introspective", "select {{ run_query('select 1').columns[0][0] if execute else 0 }} as x"
    )
    answer = parse(odd, introspective, secrets={"warehouse": warehouse.secret})

    assert answer.error is None


def test_a_warehouse_that_is_away_keeps_nobody_from_saving(parse, warehouse):
    away = {"connector": "managed_warehouse", "config": warehouse.secret["config"] | {"port": 1}}
    answer = parse(projects.model("fine", "select 2 as id"), secrets={"warehouse": away})

    assert answer.error is None
    assert "could not be asked" in answer.log_text
