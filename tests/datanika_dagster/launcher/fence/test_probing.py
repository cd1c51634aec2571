"""What a machine allows is found out by trying, and what it does not is said with a remedy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datanika_dagster.launcher import run_launcher
from datanika_dagster.launcher.fence import Fence, Level, probe, probing, system_calls
from datanika_dagster.settings import Settings
from tests.datanika_dagster.launcher.fence.children import Machine, as_ordinary
from tests.datanika_dagster.launcher.fence.conftest import give_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: Linux's alone")
ROOT = Path(__file__).parents[4]
REFUSED = OSError(1, "unshare: Operation not permitted")


def refuse(*_: object, **__: object) -> None:
    raise REFUSED


def test_root_gets_users_and_nothing_is_left_behind(rooted):
    fence = probe(rooted.config)
    assert (fence.level, fence.reason) == (Level.USERS, "")
    assert [path.name for path in (rooted.home / "work").iterdir()] == ["job_of_two"]


def test_an_ordinary_user_gets_namespaces_and_hears_what_root_would_give(machine):
    found = machine.on_host(lambda: list(level_and_reason(machine)))
    if machine.level is Level.USERS:
        assert found == [Level.USERS, ""]
    else:
        assert found[0] == Level.NAMESPACES
        assert "not root" in found[1]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="NOT TESTED: root and setpriv"
)
def test_the_capabilities_that_are_documented_are_enough(home):
    """As a container has them that is given these and no others."""
    allowed = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in probing.CAPABILITIES)
    limits = ["setpriv", "--inh-caps=-all", f"--bounding-set=-all,{allowed}"]
    question = "from datanika_dagster.launcher.fence import probe; print(probe().level)"
    done = subprocess.run(
        [*limits, sys.executable, "-c", question],
        env={"PATH": "/usr/bin:/bin", "DATANIKA_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == Level.USERS, done.stdout + done.stderr


def test_the_containers_of_runs_are_given_what_is_documented():
    for name in ("docker.yaml", "kubernetes.yaml"):
        text = (ROOT / "deploy" / "run-containers" / name).read_text()
        names = ", ".join(one.removeprefix("CAP_") for one in probing.CAPABILITIES)
        assert f"[{names}]" in text
    page = (ROOT / "docs" / "install.md").read_text()
    assert all(name in page for name in probing.CAPABILITIES)


def test_the_containers_of_runs_are_given_what_their_runs_are():
    for name in ("docker.yaml", "kubernetes.yaml"):
        text = (ROOT / "deploy" / "run-containers" / name).read_text()
        of_run = run_launcher._environment(Settings(DAGSTER_HOME="/dagster"))
        assert [one for one in of_run if one not in text and one != "DAGSTER_HOME"] == []
    page = (ROOT / "docs" / "scaling.md").read_text()
    fields = Settings.model_fields
    assert (fields["step_log_lines"].default, fields["step_log_bytes"].default) == (
        10_000,
        10 << 20,
    )
    assert "10,000 lines and 10 MiB" in page


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: the way of root")
def test_root_without_its_capabilities_is_told_which(home, monkeypatch):
    monkeypatch.setattr(system_calls, "unshare", refuse)
    fence = probe(Machine(Level.USERS, home).config)
    assert fence.level is Level.NONE
    assert "CAP_SYS_ADMIN" in fence.reason
    assert "unshare: Operation not permitted" in fence.reason


def test_a_user_without_namespaces_is_told_the_switch(home, monkeypatch):
    switch = home / "max_user_namespaces"
    switch.write_text("0\n")
    monkeypatch.setattr(probing, "SWITCHES", ((str(switch), "0", "user.max=10000"),))
    monkeypatch.setattr(system_calls, "unshare", refuse_users)
    give_all(home)
    level, reason = as_ordinary(home, lambda: level_and_reason(Machine(Level.NAMESPACES, home)))
    assert level == Level.NONE
    assert "as root: sysctl user.max=10000" in reason


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: the way of root")
def test_code_that_orgs_users_cannot_read_is_named(home, monkeypatch):
    closed = home / "closed.py"
    closed.write_text("")
    closed.chmod(0o600)
    monkeypatch.setattr(probing, "READ_BY_ALL", (str(closed),))
    monkeypatch.setattr(probing.view, "code_directories", lambda: (*CODE, home / "closed.py"))
    fence = probe(Machine(Level.USERS, home).config)
    assert fence.level is Level.NONE
    assert str(closed) in fence.reason
    assert "chmod -R o+rX" in fence.reason


CODE = probing.view.code_directories()


def test_a_home_below_a_closed_directory_is_no_obstacle(rooted):
    closed = rooted.home / "closed"
    (closed / "home").mkdir(parents=True)
    closed.chmod(0o700)
    fence = probe(rooted.config.model_copy(update={"home": closed / "home"}))
    assert fence.level is Level.USERS


def test_elsewhere_than_on_linux_there_is_none(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    fence = probe(Machine(Level.NONE, home).config)
    assert fence == Fence(Level.NONE, "darwin has no namespaces")


_UNSHARE = system_calls.unshare


def refuse_users(flags: int) -> None:
    if flags & system_calls.CLONE_NEWUSER:
        raise REFUSED
    _UNSHARE(flags)


def level_and_reason(machine):
    fence = probe(machine.config)
    return fence.level, fence.reason
