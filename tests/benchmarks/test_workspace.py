"""What is measured in the quick run and what is not, and where a failing command shows."""

import pytest

from benchmarks import installation
from benchmarks.workspace import BenchmarkError, Workspace


def test_the_quick_run_measures_once(tmp_path):
    assert Workspace(tmp_path, 1, quick=True).rounds == 1
    assert Workspace(tmp_path, 1, quick=False).rounds == 3


def test_the_quick_run_installs_nothing(tmp_path):
    assert installation.measure(Workspace(tmp_path, 1, quick=True)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_named():
    with pytest.raises(BenchmarkError, match="git clone"):
        installation._timed("git", "clone", "--quiet", "/no/such/repository", "/no/such/place")


def test_nothing_to_stop(tmp_path):
    Workspace(tmp_path, 1, quick=True).stop()
