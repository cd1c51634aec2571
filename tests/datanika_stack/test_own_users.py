"""Whether code servers can have users of their own, and what is said where they cannot."""

import os
import sys
from pathlib import Path

import pytest

from datanika_stack.base_environment import base_environment
from datanika_stack.own_users import OwnUsers, find_own_users

IS_ROOT = os.geteuid() == 0


def test_the_users_are_those_of_the_orgs_runs() -> None:
    users = OwnUsers(1_000_000)
    assert [users.uid_of(org_id) for org_id in (1, 2, 7)] == [1_000_002, 1_000_004, 1_000_014]
    assert OwnUsers(None, "because").uid_of(7) is None


@pytest.mark.skipif(IS_ROOT, reason="this is what somebody else sees")
def test_only_root_can() -> None:
    users = find_own_users(1_000_000, (sys.executable,), base_environment())
    assert users == OwnUsers(None, "the stack does not run as root")


@pytest.mark.skipif(not IS_ROOT, reason="only root can try")
def test_an_interpreter_that_others_cannot_read_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "python"
    closed.symlink_to(sys.executable)
    tmp_path.chmod(0o700)
    users = find_own_users(1_000_000, (str(closed),), base_environment())
    assert users.uid_base is None
    assert str(closed) in (users.reason or "")
