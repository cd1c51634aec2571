"""The key agent: what it answers, to whom, and where the keys never are."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from datanika_stack.key_agent import HeldKeys, KeyAgent
from datanika_stack.peers import Peer, in_sessions_of, is_own_user, peer_of

KEYS = [{"id": 1, "key": Fernet.generate_key().decode()}]


def ask(path: Path, request: Any) -> dict[str, Any]:
    """Sends one request and returns the answer."""
    text = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(text)
        return json.loads(client.makefile().readline())


@pytest.fixture
def path(short_dir: Path) -> Path:
    return short_dir / "agent" / "keys.sock"


@pytest.fixture
def agent(path: Path) -> Iterator[KeyAgent]:
    made = KeyAgent(path)
    made.start()
    yield made
    made.close()


def test_sealed_until_somebody_puts_keys(agent: KeyAgent, path: Path) -> None:
    first = ask(path, {"op": "get"})
    assert first["ok"]
    assert first["keys"] == []
    put = ask(path, {"op": "put", "keys": KEYS})
    assert put == {"ok": True, "generation": first["generation"] + 1}
    assert ask(path, {"op": "get"}) == {**put, "keys": KEYS}
    assert ask(path, {"op": "clear"})["generation"] == first["generation"] + 2
    assert ask(path, {"op": "get"})["keys"] == []


def test_the_socket_is_private_and_gone_at_the_end(path: Path) -> None:
    agent = KeyAgent(path)
    agent.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    agent.close()
    assert not path.exists()


def test_another_agent_starts_sealed_with_a_later_generation(path: Path) -> None:
    before = KeyAgent(path)
    before.start()
    put = ask(path, {"op": "put", "keys": KEYS})
    before.close()
    after = KeyAgent(path)
    after.start()
    try:
        answer = ask(path, {"op": "get"})
    finally:
        after.close()
    assert answer["keys"] == []
    assert answer["generation"] > put["generation"]


@pytest.mark.parametrize(
    "request_",
    [
        b"no json\n",
        b"[" * 60_000 + b"\n",
        b"\n",
        [],
        {"op": "steal"},
        {"op": "put"},
        {"op": "put", "keys": [{"id": 1}]},
        {"op": "put", "keys": [{"id": "1", "key": KEYS[0]["key"]}]},
        {"op": "put", "keys": [{"id": 0, "key": KEYS[0]["key"]}]},
        {"op": "put", "keys": [{"id": 1, "key": "canary-no-fernet-key"}]},
        {"op": "put", "keys": [{"id": 1, "key": 7}]},
        {"op": "put", "keys": KEYS * 101},
    ],
)
def test_anything_else_is_refused_and_changes_nothing(
    agent: KeyAgent, path: Path, request_: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    ask(path, {"op": "put", "keys": KEYS})
    answer = ask(path, request_)
    assert not answer["ok"]
    assert "canary" not in json.dumps(answer)
    assert ask(path, {"op": "get"})["keys"] == KEYS
    assert capfd.readouterr() == ("", "")


def test_a_peer_that_hangs_up_leaves_no_trace(
    agent: KeyAgent, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for text in (b"", b'{"op": "get"}\n'):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(text)
    assert ask(path, {"op": "get"})["ok"]
    assert capfd.readouterr() == ("", "")


def test_parallel_changes_are_counted_one_by_one(agent: KeyAgent, path: Path) -> None:
    first = ask(path, {"op": "get"})["generation"]
    threads = [
        threading.Thread(target=ask, args=(path, {"op": "put", "keys": KEYS})) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask(path, {"op": "get"})["generation"] == first + 16


def test_keys_are_in_no_repr() -> None:
    held = HeldKeys()
    held.put(KEYS)
    assert KEYS[0]["key"] not in repr(held)


class TestPeers:
    def test_the_kernel_says_who_it_is(self) -> None:
        here, there = socket.socketpair()
        with here, there:
            assert peer_of(here) == Peer(os.getpid(), os.geteuid())

    def test_another_user_is_refused(self, path: Path) -> None:
        agent = KeyAgent(path, lambda peer: is_own_user(Peer(peer.pid, peer.uid + 4711)))
        agent.start()
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(path))
                time.sleep(0.2)  # a slow asker, too, reads why
                client.sendall(b'{"op": "get"}\n')
                assert json.loads(client.makefile().readline()) == {
                    "ok": False,
                    "error": "this process may not ask for the platform's keys",
                }
        finally:
            agent.close()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
    def test_another_user_of_this_machine_is_refused(self, agent: KeyAgent, path: Path) -> None:
        path.parent.parent.chmod(0o755)
        path.parent.chmod(0o755)
        path.chmod(0o666)  # as if somebody had opened the socket's mode
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r}); "
        code += 's.sendall(b\'{"op": "get"}\\n\'); print(s.makefile().readline())'
        answer = subprocess.run(
            ["/usr/bin/env", "python3", "-c", code], user=65534, capture_output=True, text=True
        )
        assert json.loads(answer.stdout)["ok"] is False, answer.stderr

    def test_only_processes_of_the_named_sessions_may_ask(self, path: Path) -> None:
        code = (
            "import os, socket, sys; sys.stdin.readline(); exec(sys.argv[2]); "
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            's.sendall(b\'{"op": "get"}\\n\'); print(s.makefile().readline())'
        )
        leaders: set[int] = set()
        agent = KeyAgent(path, in_sessions_of(lambda: leaders))
        agent.start()

        def answer_to(preparation: str, *, is_named: bool) -> bool:
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(path), preparation],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            leaders.clear()
            if is_named:
                leaders.add(process.pid)
            return json.loads(process.communicate("go\n", timeout=20)[0])["ok"]

        forked = "os.fork() and (os.wait(), os._exit(0))"
        try:
            assert answer_to("", is_named=True)
            assert answer_to(forked, is_named=True), "a worker process of the server"
            assert not answer_to("", is_named=False)
            assert not answer_to(f"{forked}; os.setsid()", is_named=True), "a job"
        finally:
            agent.close()
