"""The life of real code servers: start, hang, crash, replacement, suspension; and who may reach them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from datanika_stack.base_environment import base_environment
from datanika_stack.own_users import SERVERS_ABOVE
from datanika_stack.polling import wait_for
from datanika_stack.server_ping import grpc_serves
from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve
from tests.fixtures.code_servers import TickedServers, is_alive, manifest_of, ticked_servers

SYSTEM_PYTHON = "/usr/bin/python3.11"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlaneStandIn]:
    with serve(ControlPlaneStandIn()) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def servers(
    control_plane: ControlPlaneStandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TickedServers]:
    home = tmp_path_factory.mktemp("dagster")
    with ticked_servers(control_plane, home) as made:
        made.publish(1, manifest_of("acme"))
        made.publish(2, manifest_of("globex"))
        made.wait("acme", "serving")
        made.wait("globex", "serving")
        yield made


def pid_of(servers: TickedServers, org_id: int) -> int:
    info = servers.info(org_id)
    assert info is not None
    assert info.pid is not None
    return info.pid


def socket_of(servers: TickedServers, org_id: int) -> Path:
    return servers.plan.socket_dir / f"org_{org_id}" / "server.sock"


def test_it_is_asked_by_grpc(servers: TickedServers) -> None:
    assert grpc_serves(socket_of(servers, 1))


def test_a_server_that_hangs_is_replaced_and_others_notice_nothing(servers: TickedServers) -> None:
    hung, other = pid_of(servers, 1), pid_of(servers, 2)
    os.kill(hung, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_of(servers, 1)))  # the kernel accepts for it
    assert not grpc_serves(socket_of(servers, 1))
    assert wait_for(lambda: not is_alive(hung), timeout_seconds=40)
    servers.wait("acme", "serving")
    assert pid_of(servers, 1) != hung
    assert pid_of(servers, 2) == other
    info = servers.info(1)
    assert info is not None
    assert "has not answered for 15 seconds" in (info.reason or "")


def test_a_killed_server_comes_back(servers: TickedServers) -> None:
    killed = pid_of(servers, 1)
    os.kill(killed, signal.SIGKILL)
    assert wait_for(lambda: servers.entry("acme")["state"] != "serving", timeout_seconds=5)
    servers.wait("acme", "serving")
    assert not is_alive(killed)


def test_a_new_manifest_comes_when_the_old_server_is_gone(servers: TickedServers) -> None:
    old, before = pid_of(servers, 2), servers.entry("globex")["sha256"]
    new = servers.publish(2, manifest_of("globex", tables=("flights", "planes")))
    assert new != before
    wait_for(lambda: servers.entry("globex")["sha256"] == new, timeout_seconds=5)
    servers.wait("globex", "serving")
    assert servers.entry("globex")["sha256"] == new
    assert not is_alive(old)
    assert new in psutil.Process(pid_of(servers, 2)).cmdline()


def test_a_suspended_org_has_no_server_until_it_is_resumed(servers: TickedServers) -> None:
    pid = pid_of(servers, 2)
    location = servers.suspend("globex")
    assert wait_for(lambda: servers.info(2) is None, timeout_seconds=10)
    assert not is_alive(pid)
    assert servers.entry("globex") == {}
    assert not socket_of(servers, 2).parent.exists()
    servers.wake(2)  # nobody can wake it either
    assert servers.info(2) is None
    servers.resume(location)
    servers.wait("globex", "serving")


def test_an_org_that_cannot_be_served_fails_alone_and_says_why(servers: TickedServers) -> None:
    others = [pid_of(servers, 1), pid_of(servers, 2)]
    servers.list(3, "broken", "0" * 64)
    servers.wait("broken", "failing")
    assert "ControlPlaneRefused: Nothing is published." in servers.entry("broken")["reason"]
    info = servers.info(3)
    assert info is not None
    assert info.restarts >= 2
    assert [pid_of(servers, 1), pid_of(servers, 2)] == others
    servers.suspend("broken")


def test_few_start_at_a_time(control_plane: ControlPlaneStandIn, tmp_path: Path) -> None:
    with ticked_servers(control_plane, tmp_path, starts_at_once=1) as servers:
        for org_id in (1, 2, 3):
            servers.list(org_id, f"org{org_id}", "0" * 64)
        assert wait_for(lambda: len(servers.servers.processes()) == 3, timeout_seconds=5)
        seen: list[int] = []

        def have_all_failed() -> bool:
            processes = servers.servers.processes()
            seen.append(sum(process.pid is not None for process in processes))
            return all(process.restarts for process in processes)

        assert wait_for(have_all_failed, timeout_seconds=60)
        assert max(seen) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give servers users of their own")
@pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason="no interpreter that all may read")
def test_each_org_has_a_user_that_reaches_no_other(
    control_plane: ControlPlaneStandIn, tmp_path: Path
) -> None:
    paths = [path for path in sys.path if path.endswith("site-packages")]
    root = str(Path(__file__).parents[2])
    environment = base_environment() | {"PYTHONPATH": ":".join([root, *paths])}
    python = (SYSTEM_PYTHON, "-P", "-m")
    with ticked_servers(control_plane, tmp_path, environment=environment, python=python) as servers:
        if servers.servers.isolation and "cannot read" in servers.servers.isolation:
            pytest.skip(servers.servers.isolation)
        assert servers.servers.isolation is None
        servers.publish(7, manifest_of("acme"))
        servers.publish(8, manifest_of("globex"))
        servers.wait("acme", "serving")
        servers.wait("globex", "serving")
        own, other = socket_of(servers, 7), socket_of(servers, 8)
        base = servers.plan.uid_base
        process = psutil.Process(pid_of(servers, 7))
        user = base + SERVERS_ABOVE + 7
        assert set(process.uids()) == set(process.gids()) == {user}
        assert grpc_serves(own)
        for path in (own, other):
            assert can_connect(base + 14, path) == "PermissionError"  # the org's runs
        for attacker in (base + 14, base + 15):
            assert can_reach(attacker, process.pid) == ["PermissionError"] * 3
        assert can_reach(user, process.pid)[:2] == ["PermissionError"] * 2
        assert can_connect(user, other) == "PermissionError"
        assert can_connect(base + 15, own) == "PermissionError"  # the org's jobs
        assert can_connect(0, own) == "connected"  # a canary: root, as webserver and daemon are


def can_reach(uid: int, pid: int) -> list[str]:
    """What somebody else of the machine can do with a process: read it, and signal it."""
    code = (
        "import os, sys\n"
        "at = '/proc/' + sys.argv[1]\n"
        "for attempt in (lambda: open(at + '/environ', 'rb').read(), lambda: open(at + '/mem', 'rb'),\n"
        "                lambda: os.kill(int(sys.argv[1]), 0)):\n"
        "    try:\n"
        "        attempt()\n"
        "        print('done')\n"
        "    except OSError as error:\n"
        "        print(type(error).__name__)"
    )
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", code, str(pid)],
        user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.split()


def can_connect(uid: int, path: Path) -> str:
    code = (
        "import socket, sys\n"
        "try:\n"
        "    socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "    print('connected')\n"
        "except OSError as error:\n"
        "    print(type(error).__name__)"
    )
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", code, str(path)],
        user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.strip()
