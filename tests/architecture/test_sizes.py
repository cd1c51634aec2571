"""No file or function grows past what a reader can hold."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("control_plane", "datanika_manifest", "datanika_dagster", "datanika_stack")
MAXIMUM_LINES = 400
MAXIMUM_TEST_LINES = 600
MAXIMUM_FUNCTION_LINES = 40


def python_files(*directories: str) -> list[Path]:
    return sorted(
        path
        for directory in directories
        for path in (ROOT / directory).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def too_long(paths: list[Path], maximum: int) -> list[str]:
    counts = {path: len(path.read_text().splitlines()) for path in paths}
    return [f"{path}: {count} lines" for path, count in counts.items() if count > maximum]


def long_functions(source: str) -> list[str]:
    """Names the functions whose body, without its docstring, is too long."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
            if lines > MAXIMUM_FUNCTION_LINES:
                found.append(f"{node.name}: {lines} lines")
    return found


def test_files():
    assert too_long(python_files(*PACKAGES, "migrations/env.py"), MAXIMUM_LINES) == []
    assert too_long(python_files("tests", "benchmarks"), MAXIMUM_TEST_LINES) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions(package: str):
    found = {
        str(path.relative_to(ROOT)): names
        for path in python_files(package)
        if (names := long_functions(path.read_text()))
    }
    assert found == {}


def test_the_function_test_can_fail():
    body = "\n".join(f"    x{n} = {n}" for n in range(MAXIMUM_FUNCTION_LINES + 1))
    assert long_functions(f"def long():\n{body}\n") == ["long: 41 lines"]


def test_every_module_says_what_it_is_for():
    missing = [
        str(path.relative_to(ROOT))
        for path in python_files(*PACKAGES)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert missing == []


@pytest.mark.parametrize("word", ["utils", "helpers", "manager"])
def test_names_say_something(word: str):
    assert [path for path in python_files(*PACKAGES) if word in path.stem.split("_")] == []
