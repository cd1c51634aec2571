"""The hosts' protocol is written twice, since the control plane imports nothing of the execution plane.

Here both are held against each other: what one says, the other understands.
"""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from control_plane.core import worker_hosts
from control_plane.core.worker_hosts import ChildEnded, HostGone, Wanted, WorkerHosts
from datanika_dagster.launcher.host import client, protocol
from datanika_dagster.launcher.host.connection import Connection
from datanika_dagster.launcher.host.protocol import Code, Refusal, StartJob
from tests.datanika_dagster.support.worker_hosts import RunningHost

WANTED = Wanted("connection_test", 7, 20.0)


class Counterpart:
    """A host's end of one connection: reads with the host's own code, answers as it is told."""

    def __init__(self, path: Path, answers: list[dict]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answers = answers
        self.lines: list[bytes] = []
        self.descriptors: list[int] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connected, _ = self._listener.accept()
        self._connection = Connection(connected)
        connected.setblocking(True)
        while not self.lines:
            self.lines += self._connection.receive()
        self.descriptors = self._connection.take_descriptors(8)
        for answer in self._answers:
            self._connection.send(answer)

    def close(self) -> None:
        self._thread.join(5)
        self._connection.close()
        self._listener.close()


@pytest.fixture
def hosts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("h")
    opened = []

    def answering(*answers: dict) -> tuple[WorkerHosts, Counterpart]:
        opened.append(Counterpart(directory / "one.sock", list(answers)))
        return WorkerHosts(directory, wait_seconds=0), opened[-1]

    yield answering
    for one in opened:
        one.close()


STARTED = {"ok": True, "job": "0a", "pid": 1}


def ended(reason: str | None) -> dict:
    return {"job": "0a", "exit": -9, "reason": reason, "cpu_seconds": 0.1, "peak_bytes": 1}


def test_what_the_control_plane_asks_is_a_request_of_the_host(hosts):
    there, counterpart = hosts(STARTED)
    with there.start(WANTED):
        counterpart.close()
    (line,) = counterpart.lines
    request = protocol.read_request(line)
    assert isinstance(request, StartJob)
    assert (request.kind, request.org_id, request.deadline_seconds) == ("connection_test", 7, 20.0)
    assert len(counterpart.descriptors) == protocol.descriptors_of(request)


def test_both_clients_ask_in_the_same_words(hosts):
    there, counterpart = hosts(STARTED)
    with there.start(WANTED):
        counterpart.close()
    own = StartJob(kind=WANTED.kind, org_id=7, deadline_seconds=20.0)
    own_words = json.loads(protocol.as_line(own))
    words = json.loads(counterpart.lines[0])
    assert words.items() <= own_words.items()
    left_out = {name: own_words[name] for name in own_words.keys() - words.keys()}
    assert left_out == {"has_network": True, "has_output": False}, "which is what the host assumes"


@pytest.mark.parametrize("code", list(Code))
def test_each_refusal_is_one(hosts, code):
    there, _ = hosts(Refusal(code, "why").answer())
    with pytest.raises(worker_hosts.Unavailable, match=code.value):
        there.start(WANTED)


@pytest.mark.parametrize("reason", [None, "memory", "processes", "disk", "deadline", "cancelled"])
def test_an_ending_is_understood_by_both(hosts, reason):
    there, counterpart = hosts(STARTED, ended(reason))
    with there.start(WANTED) as child, pytest.raises(ChildEnded) as ending:
        child.answer(deadline=time.monotonic() + 20)
    counterpart.close()
    assert ending.value.reason == reason
    ours, theirs = socket.socketpair()
    with client.HostConnection(ours) as connection, theirs:
        theirs.sendall(protocol.as_line(ended(reason)))
        assert connection.ending_of("0a") == ended(reason)


def test_a_host_that_closes_has_gone(hosts):
    there, counterpart = hosts(STARTED)
    with there.start(WANTED) as child:
        counterpart.close()
        with pytest.raises(HostGone):
            child.answer(deadline=time.monotonic() + 20)


def test_names_and_limits_are_the_same():
    assert worker_hosts.SOCKETS == client.SOCKETS
    assert worker_hosts.MAXIMUM_HOST_LINE_BYTES == protocol.ANSWER_BYTES


def test_the_host_says_what_both_read(task_host: RunningHost):
    """The real one: fields of its answer, and of an ending that nobody asked for."""
    there = WorkerHosts(task_host.socket.parent)
    with there.start(Wanted("no_such_kind", 7, 20.0)) as child:
        child.tell({"form": "task", "entry": "no_such_kind", "payload": {}, "secrets": {}}, 5)
        assert json.loads(child.answer(deadline=time.monotonic() + 20))["ok"] is False
    ours, theirs = socket.socketpair()
    with ours, theirs, task_host.connect() as connection:
        request = StartJob(org_id=7, kind="none", deadline_seconds=20)
        answer = connection.request(request, [theirs.fileno()])
        assert answer.keys() == STARTED.keys()
        client.kill_job(connection, answer["job"], is_hard=True)
        found = None
        while found is None:
            found = connection.ending_of(answer["job"])
    assert found.keys() == ended("cancelled").keys()
    assert found["reason"] == "cancelled"
