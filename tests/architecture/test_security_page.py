"""docs/security.md names a test for each promise; the tests that it names exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)(?:::([\w:]+))?`")


@cache
def definitions(path: Path) -> frozenset[str]:
    """Names functions and classes of a file, methods as `Class::method`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
            names.update(f"{node.name}::{name}" for name in inner)
    return frozenset(names)


def promises() -> list[str]:
    """The rows of the page's tables, without heads and rulers."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith(("| Promise", "|---", "| ---"))]


@pytest.mark.parametrize("row", promises())
def test_each_promise_names_tests_that_exist(row: str):
    references = REFERENCE.findall(row)
    assert references, f"no test holds: {row}"
    for path, name in references:
        assert (ROOT / path).is_file(), path
        assert not name or name in definitions(ROOT / path), f"{path}::{name}"


def test_there_are_promises():
    assert len(promises()) > 40
