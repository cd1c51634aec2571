"""Whether code servers can have users of their own, and what is said where they cannot."""

import os
import sys
from pathlib import Path
from typing import Literal

import pytest

from datanika_dagster.launcher.fence import Fence, Level, Principal
from datanika_stack.base_environment import base_environment
from datanika_stack.own_users import OwnUsers, find_own_users

IS_ROOT = os.geteuid() == 0


def test_a_server_has_a_user_that_no_run_job_or_other_org_has() -> None:
    users = OwnUsers(1_000_000)
    fence = Fence(Level.USERS, uid_base=1_000_000)
    orgs = range(1, 1000)
    servers = [users.uid_of(org_id) for org_id in orgs]
    kinds: tuple[Literal["run", "job"], ...] = ("run", "job")
    others = {fence.user_of(Principal(org_id, kind)) for org_id in orgs for kind in kinds}
    assert servers[:2] == [1_001_000_001, 1_001_000_002]
    assert len(set(servers)) == len(servers)
    assert not {number for user in others if user for number in user} & set(servers)
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
