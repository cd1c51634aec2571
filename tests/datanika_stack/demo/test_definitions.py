"""What the demo defines agrees with what the product takes."""

import re
from pathlib import Path

import pytest

from datanika_manifest.connectors.registry import CONNECTORS
from datanika_manifest.transformations import ColumnTest, Materialization
from datanika_stack.demo import definitions


class TestTransformations:
    def test_two_views_and_a_table(self):
        kinds = [Materialization(body["materialization"]) for body in definitions.transformations()]
        assert kinds == [Materialization.VIEW, Materialization.VIEW, Materialization.TABLE]

    @pytest.mark.parametrize("body", definitions.transformations(), ids=lambda b: b["name"])
    def test_tests_are_column_tests(self, body):
        assert [ColumnTest.model_validate(test) for test in body["tests"]]

    def test_the_test_that_fails_is_a_warning(self):
        tests = definitions.transformations()[0]["tests"]
        assert [t["column"] for t in tests if t.get("severity") == "warn"] == ["tailnum"]


class TestSourceConnection:
    def test_fits_the_connector(self):
        body = definitions.source_connection(port=1, password="x")
        assert CONNECTORS[body["connector"]].config.model_validate(body["config"])


def test_the_demo_is_a_client():
    """It names nothing of the planes that it shows (docs/decisions/0050)."""
    folder = Path(definitions.__file__).parent
    code = "\n".join(path.read_text() for path in folder.glob("*.py"))
    assert not re.search(r"^(from|import) (control_plane|datanika_dagster)", code, re.MULTILINE)
