"""Giving PostgreSQL's user the way through closed directories, and keeping it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datanika_stack.errors import StackError
from datanika_stack.os_access import OsUser, ensure_os_user, let_user_reach
from datanika_stack.private_files import make_private_directory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes the user, which only root may")


@pytest.fixture
def closed(short_dir: Path) -> Path:
    directory = short_dir / "closed"
    directory.mkdir(mode=0o700)
    (directory / "open").mkdir(mode=0o755)
    return directory


def test_macos_has_no_user_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StackError, match="without sudo"):
        ensure_os_user("datanika-nobody-here")


def can(user: OsUser, test: str, path: Path) -> bool:
    done = subprocess.run(
        ["/usr/bin/test", test, path], user=user.uid, group=user.gid, extra_groups=[], check=False
    )
    return done.returncode == 0


def test_gives_the_way_to_one_user_and_nothing_more(closed: Path) -> None:
    user, other = ensure_os_user(), ensure_os_user("nobody")
    assert not can(user, "-x", closed / "open")
    let_user_reach(closed / "open", user)
    assert can(user, "-x", closed / "open")
    assert not can(user, "-r", closed)
    assert not can(user, "-w", closed)
    assert not can(other, "-x", closed / "open")
    assert closed.stat().st_mode & 0o067 == 0


def test_making_the_directory_private_again_keeps_the_way(closed: Path) -> None:
    user = ensure_os_user()
    let_user_reach(closed / "open", user)
    make_private_directory(closed)
    assert can(user, "-x", closed / "open")
    closed.chmod(0o755)
    make_private_directory(closed)
    assert closed.stat().st_mode & 0o067 == 0


def test_a_directory_without_acl_becomes_0700(short_dir: Path) -> None:
    directory = short_dir / "mine"
    directory.mkdir(mode=0o755)
    make_private_directory(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
