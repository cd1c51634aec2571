import pytest

from datanika_dagster.launcher.job import JobError
from datanika_dagster.transformations import hygiene


@pytest.mark.parametrize("name", ["stg_flights", "_x", "Dim-Planes", "a" * 63])
def test_a_name_of_a_model(name):
    hygiene.check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a/b",
        "a.b",
        "a b",
        "1a",
        "-x",
        "--target-path",
        "a~b",
        "a*",
        "é",
        "a\n",
        "x" * 64,
    ],
)
def test_a_hostile_name_is_refused(name):
    with pytest.raises(JobError, match="is not allowed"):
        hygiene.check_name(name)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "{% set x = 1 %}{% for i in range(3) %}select {{ i }}{% endfor %}",
        "{% macro local(x) %}{{ x }}{% endmacro %}select {{ local(1) }}",
        "select '{# materialization #}', 'materialization'",
        "{% raw %}{% materialization x, default %}{% endraw %}",
    ],
)
def test_sql_with_jinja_is_a_model(sql):
    hygiene.check_sql("fine", sql)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("{% materialization x, adapter='postgres' %}{% endmaterialization %}", "materialization"),
        ("select 1 {%- materialization x, default -%}{%- endmaterialization -%}", "materializ"),
        ("{%+ materialization x, default %}", "materialization"),
        ("{% snapshot s %}{% endsnapshot %}", "snapshot"),
        ("{% test t(model) %}{% endtest %}", "test"),
        ("{% include '/etc/passwd' %}", "include"),
        ("{% import 'x' as y %}", "import"),
        ("{% extends 'x' %}", "extends"),
        ("import os\ndef model(dbt, session):\n    return 1", "Python model"),
        ("  \n", "no SQL"),
        ("select '\0'", "null byte"),
    ],
)
def test_what_is_no_sql_model_is_refused_by_name(sql, problem):
    with pytest.raises(JobError, match=problem) as caught:
        hygiene.check_sql("hostile", sql)

    assert caught.value.field == "hostile"
    assert caught.value.code == "transformation.invalid"
