"""Which SQL is refused: what PostgreSQL's grammar refuses, and offline only the obvious."""

import psycopg
import pytest

from datanika_dagster.transformations.syntax import grammar_error, obvious_error

# Each is grammatical PostgreSQL. sqlglot 30 refuses the first half of them: the reason why it is
# not asked.
GRAMMATICAL = [
    "select a from only (t)",
    "select a from t order by 1 using >",
    "select json_array(1, 2 absent on null)",
    "select xmlforest(a, b as c), xmlparse(content a)",
    "select b::bit varying(3)",
    "select a as select, b as from",
    "select substring(a similar 'x' escape '#')",
    "select collation for ('foo')",
    "select f(variadic array[1, 2])",
    "table x",
    "values (1, 2), (3, 4)",
    "(select 1) union all (select 2) order by 1",
    "((select 1))",
    "/* a /* b */ c */ select 1 -- end",
    "-- first\nwith x as materialized (select 1) select * from x",
    "select 'it''s; fine', $$x;y$$, E'\\n', U&'\\0061'",
    "select distinct on (a) a, b from nowhere.yet order by a, b desc nulls last",
]
BROKEN = {
    "selct * form x": 'syntax error at or near "selct" (line 1)',
    "select * form x": 'syntax error at or near "form" (line 1)',
    "select a,\n, b from x": 'syntax error at or near "," (line 2)',
    "select 1\nfrom (select 2": "syntax error at end of input (line 2)",
    "select 1;": 'syntax error at or near ";" (line 1)',
    "select 1; drop table x": 'syntax error at or near ";" (line 1)',
    "select 1); drop table x; --": 'syntax error at or near ")"',
    "select 1); create table planted (a int); select (2": 'syntax error at or near ")"',
    "insert into x values (1)": "syntax error",
    "select 'open": "unterminated quoted string",
    "select a from t limit 1, 2": "LIMIT #,# syntax is not supported",
}


@pytest.fixture(scope="module")
def session(warehouse):
    with psycopg.connect(warehouse.superuser_dsn) as connection:
        yield connection


@pytest.mark.parametrize("sql", GRAMMATICAL)
def test_what_postgresql_accepts_is_accepted(session, sql):
    assert grammar_error(session, sql) is None
    assert obvious_error(sql) is None


@pytest.mark.parametrize(("sql", "problem"), BROKEN.items())
def test_what_postgresql_refuses_is_refused_with_its_line(session, sql, problem):
    assert problem in grammar_error(session, sql)


def test_nothing_of_the_model_is_executed(session):
    side_effect = "select set_config('datanika.planted', 'yes', false)"

    assert grammar_error(session, side_effect) is None
    assert session.execute("select current_setting('datanika.planted', true)").fetchone() == (None,)


@pytest.mark.parametrize("sql", ["selct * form x", "drop table x", "(slect 1)", "-- nothing", "42"])
def test_the_obvious_is_found_without_a_server(sql):
    assert "starts with SELECT or WITH" in obvious_error(sql)


def test_what_begins_with_jinja_may_become_a_query():
    assert obvious_error("{{ config(tags='x') }} select 1") is None
    assert obvious_error("{# a comment #} select 1") is None
