"""Without a fence, only what is safe without one."""

import pytest

from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher.fence import IsolationMissing, Level, single_trust
from datanika_manifest.connectors.registry import CONNECTORS

UNSAFE = {"connector": "duckdb", "has_own_macros": True, "has_several_orgs": True}


def test_macros_on_a_local_file_are_refused_by_name():
    with pytest.raises(IsolationMissing, match=r"macros of its own on duckdb.*as root") as refused:
        single_trust.ensure_allowed(Level.NONE, **UNSAFE)
    assert isinstance(refused.value, ExecutionError)
    assert refused.value.code == "execution.isolation_missing"


def test_sqlite_is_a_local_file_too():
    assert single_trust.refuses(Level.NONE, **UNSAFE | {"connector": "sqlite"})


@pytest.mark.parametrize("level", [Level.USERS, Level.NAMESPACES])
def test_behind_a_fence_they_run(level):
    single_trust.ensure_allowed(level, **UNSAFE)


@pytest.mark.parametrize(
    "safe", [{"connector": "postgres"}, {"has_own_macros": False}, {"has_several_orgs": False}]
)
def test_what_reaches_nobody_else_runs(safe):
    single_trust.ensure_allowed(Level.NONE, **UNSAFE | safe)


def test_the_engines_it_names_are_no_connectors_yet():
    """The first one that is has to ask `ensure_allowed`, and this test to be replaced by its own."""
    assert not CONNECTORS.keys() & single_trust.LOCAL_FILE_CONNECTORS
