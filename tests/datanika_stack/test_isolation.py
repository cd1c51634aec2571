"""What a person is told about what keeps orgs' jobs apart."""

from pathlib import Path

import pytest

from datanika_dagster.launcher.fence import Fence, Level
from datanika_stack import isolation
from datanika_stack.isolation import Isolation, isolation_of


def test_it_is_what_the_fence_finds_with_this_home_and_these_users(tmp_path, monkeypatch):
    asked = []

    def probe(config):
        asked.append((config.home, config.worker_uid_base))
        return Fence(Level.NAMESPACES, "not root")

    monkeypatch.setattr(isolation, "probe", probe)
    assert isolation_of(tmp_path, 2_000_000) == Isolation(Level.NAMESPACES, "not root")
    assert isolation_of(tmp_path, 2_000_000).in_words.endswith("; not root")
    assert asked == [(tmp_path, 2_000_000)]


def test_this_machine_has_a_level(tmp_path: Path):
    assert isolation_of(tmp_path, 1_000_000).level in list(Level)
    assert [path.name for path in (tmp_path / "work").glob("*")] == []


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (Level.USERS, "users, processes and a file system of their own"),
        (Level.NAMESPACES, "Jobs have processes and a file system of their own; because"),
        (Level.NONE, "whom you do not trust (because)"),
    ],
)
def test_each_level_is_said_in_words(level: Level, said: str):
    assert said in Isolation(level, "because").in_words
