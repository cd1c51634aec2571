"""What a transformation may say before dbt is asked."""

from typing import Any

import pytest
from pydantic import ValidationError

from control_plane.core.errors import Invalid
from control_plane.transformations.column_tests import check_tests
from control_plane.transformations.models import Transformation
from control_plane.transformations.references import (
    models_in,
    names_model,
    names_table,
    tables_in,
)
from control_plane.transformations.saving import with_ancestors
from control_plane.transformations.schemas import TransformationCreate
from datanika_manifest.transformations import (
    ColumnTest,
    Materialization,
    ModelSource,
    ProjectSource,
)

KNOWN = {"stg_flights", "airline.planes"}


def create(**values: Any) -> TransformationCreate:
    return TransformationCreate.model_validate({"name": "m", "sql": "select 1", **values})


class TestBody:
    def test_defaults(self):
        body = create()
        assert (body.schema_name, body.materialization, body.connection_id) == (
            "analytics",
            "view",
            None,
        )

    @pytest.mark.parametrize("name", ["stg_flights", "_private", "stg__orders", "Mart-Daily", "_1"])
    def test_allowed_names(self, name: str):
        assert create(name=name).name == name

    @pytest.mark.parametrize("name", ["", "1st", "a b", "a.b", "../x", "__", "über", "a" * 64])
    def test_refused_names(self, name: str):
        with pytest.raises(ValidationError, match="is not allowed: a letter or '_' first"):
            create(name=name)

    @pytest.mark.parametrize("schema", ["Analytics", "pg_marts", "a__b", "information_schema", ""])
    def test_refused_schemas(self, schema: str):
        with pytest.raises(ValidationError, match=r"not allowed|database itself"):
            create(schema=schema)

    @pytest.mark.parametrize(
        ("sql", "words"),
        [(" \n", "has no SQL"), ("x" * 200_001, "at most 200000"), ("a\0b", "null byte")],
    )
    def test_refused_sql(self, sql: str, words: str):
        with pytest.raises(ValidationError, match=words):
            create(sql=sql)

    def test_unknown_keys_and_materializations(self):
        with pytest.raises(ValidationError, match="not permitted"):
            create(tags=["x"])
        with pytest.raises(ValidationError, match="'ephemeral'"):
            create(materialization="materialized_view")


class TestCheckTests:
    def test_accepted(self):
        tests = [
            ColumnTest(type="not_null", column="id"),
            ColumnTest(type="accepted_values", column="origin", values=("JFK",)),
            ColumnTest(type="accepted_values", column="origin", values=("JFK", "LGA")),
            ColumnTest(type="relationships", column="tailnum", to="airline.planes"),
            ColumnTest(type="relationships", column="id", to="stg_flights", field="flight_id"),
        ]
        check_tests(tests, Materialization.TABLE, KNOWN)

    @pytest.mark.parametrize(
        ("test", "pointer", "words"),
        [
            ({"type": "accepted_values"}, "/tests/1/values", "needs 'values'"),
            ({"type": "relationships"}, "/tests/1/to", "needs 'to'"),
            ({"type": "unique", "values": [1]}, "/tests/1/values", "a 'unique' test has no"),
            ({"type": "not_null", "to": "x"}, "/tests/1/to", "a 'not_null' test has no 'to'"),
            ({"type": "relationships", "to": "plane"}, "/tests/1/to", "'plane' is neither a model"),
            ({"type": "unique"}, "/tests/1", "is declared twice"),
        ],
    )
    def test_names_the_field(self, test: dict[str, Any], pointer: str, words: str):
        tests = [ColumnTest(type="unique", column="id"), ColumnTest(column="id", **test)]
        with pytest.raises(Invalid) as caught:
            check_tests(tests, Materialization.VIEW, KNOWN)
        errors = {error.pointer: error.detail for error in caught.value.errors}
        assert words in errors[pointer]

    def test_ephemeral_models_have_none(self):
        tests = [ColumnTest(type="unique", column="id")]
        with pytest.raises(Invalid, match="never stored"):
            check_tests(tests, Materialization.EPHEMERAL, KNOWN)


class TestReferences:
    SQL = """
    select * from {{ ref('stg_flights') }} join {{ ref ( "dim", version=2) }} using (id)
    join {{ source('airline', "planes") }} using (tailnum) -- prefer('x')
    """

    def test_in_sql(self):
        assert models_in(self.SQL) == {"stg_flights", "dim"}
        assert tables_in(self.SQL) == {("airline", "planes")}

    def test_in_tests(self):
        tests = [
            {"type": "relationships", "column": "a", "to": "airline.planes"},
            {"type": "relationships", "column": "a", "to": "dim"},
        ]
        row = Transformation(sql="select 1", tests=tests)
        assert names_table(row, "airline", "planes")
        assert names_model(row, "dim")
        assert not names_model(row, "stg_flights")


class TestWithAncestors:
    def test_what_a_model_selects_from_and_nothing_else(self):
        def model(name: str, sql: str, **values: Any) -> ModelSource:
            return ModelSource(
                name=name, schema_name="x", sql=sql, materialization=Materialization.VIEW, **values
            )

        test = ColumnTest(type="relationships", column="a", to="tested")
        project = ProjectSource(
            org_id=1,
            org="acme",
            connection="warehouse",
            connector="postgres",
            sources=(),
            models=(
                model("base", "select 1"),
                model("tested", "select * from {{ ref('base') }}"),
                model("mart", "select * from {{ ref('stg') }}", tests=(test,)),
                model("stg", "select * from {{ ref('gone') }}"),
                model("other", "select * from {{ ref('mart') }}"),
            ),
        )
        kept = [one.name for one in with_ancestors(project, "mart").models]
        assert kept == ["base", "tested", "mart", "stg"]
