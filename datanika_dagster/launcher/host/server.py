"""The host's one loop: who connects, what is asked, which child has ended.

One thread, and nothing in it waits for anybody: a fork copies only the thread that forks, and a client
that says nothing must cost the others nothing. It holds no secret and opens no database.
"""

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datanika_dagster import settings
from datanika_dagster.launcher import worker
from datanika_dagster.launcher.fence import Fence
from datanika_dagster.launcher.host.children import Children
from datanika_dagster.launcher.host.connection import Closed, Connection
from datanika_dagster.launcher.host.door import Door
from datanika_dagster.launcher.host.ground import Bodies, Ground
from datanika_dagster.launcher.host.hosted_jobs import HostedJobs
from datanika_dagster.launcher.host.hosted_runs import HostedRuns
from datanika_dagster.launcher.host.places import Places
from datanika_dagster.launcher.host.protocol import (
    Code,
    Info,
    Kill,
    Launch,
    Refusal,
    Request,
    StartJob,
    Status,
    Terminate,
    descriptors_of,
    read_request,
)
from datanika_dagster.launcher.host.upkeep import Upkeep

_LOGGER = logging.getLogger(__name__)
MAXIMUM_CONNECTIONS = 500


class Host:
    """One worker host.

    Args:
        socket_path: Where it listens; its name without the ending is the host's.
        bodies: What its children do.
        places: Where they do it.
        fence: What keeps them in.
    """

    def __init__(self, socket_path: Path, bodies: Bodies, places: Places, fence: Fence) -> None:
        self._name = socket_path.stem
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._children = Children(self._forget)
        self._ground = Ground(
            bodies, self._children, places, fence, settings.inherited_environment()
        )
        self._runs = HostedRuns(self._ground, self._connect_run)
        self._jobs = HostedJobs(self._ground, self._tell)
        self._upkeep = Upkeep(self._ground)
        self._is_draining = False
        self._is_ending = False
        self._wake, self._woken = socket.socketpair()
        self._door = Door(socket_path, self._selector)

    def serve(self) -> None:
        """Serves until it is told to drain or to end, and all of its children have ended.

        Raises:
            OSError: It cannot listen there.
        """
        self._listen()
        while not (self._is_draining and self._children.are_idle):
            for key, events in self._selector.select(self._pause_seconds()):
                self._survive(lambda key=key, events=events: self._handle(key.fileobj, events))
            self._survive(self._children.do_what_is_due)
            self._survive(self._children.watch)
            self._survive(self._upkeep.do_what_is_due)
            self._survive(self._door.do_what_is_due)
        for child in self._children.of_kind("upkeep"):
            self._children.kill(child)
        self._door.remove()

    @staticmethod
    def _survive(step: Callable[[], None]) -> None:
        """Takes a step of the loop: an error in one must not end the runs of everybody else."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - told; with the host every org's runs would end
            # Where and what class, but no message: it may hold what a client sent.
            lines = traceback.format_tb(error.__traceback__)
            _LOGGER.error(
                "an error in the host's loop: %s\n%s", type(error).__name__, "".join(lines)
            )

    def _listen(self) -> None:
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # seen as a byte on the socket
        self._door.open()
        self._selector.register(self._woken, selectors.EVENT_READ)

    def _pause_seconds(self) -> float:
        due = (self._children.next_due() or math.inf, self._upkeep.due_at, self._door.due_at)
        return max(0.0, min(due) - time.monotonic())

    def _handle(self, ready: Any, events: int) -> None:
        if ready is self._woken:
            self._take_signals()
        elif self._door.is_knocked_at(ready):
            self._accept()
        elif ready in self._connections:  # else it was closed a moment ago
            try:
                if events & selectors.EVENT_WRITE:
                    ready.flush()
                if events & selectors.EVENT_READ:
                    self._answer_all(ready)
                self._watch(ready)
            except Closed:
                self._close(ready)

    def _take_signals(self) -> None:
        numbers = self._woken.recv(4096)
        if signal.SIGTERM in numbers:
            self._is_draining = True
        if signal.SIGINT in numbers:
            self._end()
        self._children.reap()

    def _end(self) -> None:
        """Ends the children; asked again, kills them."""
        self._is_draining = True
        if self._is_ending:
            for child in self._children.of_kind("run", "job"):
                self._children.kill(child)
        self._is_ending = True
        self._runs.end_all()
        self._jobs.end_tasks()

    def _accept(self) -> None:
        connected = self._door.let_in()
        if connected is None:
            return
        if len(self._connections) >= MAXIMUM_CONNECTIONS:
            connected.close()
            return
        self._add(Connection(connected))

    def _connect_run(self, connected: socket.socket, run_id: str) -> None:
        self._add(Connection(connected, run_id))

    def _add(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _watch(self, connection: Connection) -> None:
        write = selectors.EVENT_WRITE if connection.has_unsent else 0
        self._selector.modify(connection, selectors.EVENT_READ | write)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection)
        self._jobs.end_those_of(connection)
        connection.close()

    def _tell(self, connection: Connection, message: dict[str, Any]) -> None:
        if connection not in self._connections:
            return
        try:
            connection.send(message)
            self._watch(connection)
        except Closed:
            self._close(connection)

    def _answer_all(self, connection: Connection) -> None:
        try:
            lines = connection.receive()
        except Refusal as refusal:
            connection.send(refusal.answer())
            raise Closed from None
        for line in lines:
            connection.send(self._answer(connection, line))

    def _answer(self, connection: Connection, line: bytes) -> dict[str, Any]:
        descriptors: list[int] = []
        try:
            request = read_request(line)
            descriptors = connection.take_descriptors(descriptors_of(request))
            if len(descriptors) < descriptors_of(request):
                raise Refusal(Code.INVALID, "A descriptor is missing.")
            self._refuse_foreign(connection, request)
            return {"ok": True, **self._do(connection, request, descriptors)}
        except Refusal as refusal:
            return refusal.answer()
        except OSError as error:
            return Refusal(Code.FULL, f"The system refuses: {error.strerror}.").answer()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    @staticmethod
    def _refuse_foreign(connection: Connection, request: Request) -> None:
        if connection.run_id is not None and not isinstance(request, StartJob | Kill):
            raise Refusal(Code.REFUSED, "A run may start and end its own jobs only.")

    def _do(
        self, connection: Connection, request: Request, descriptors: list[int]
    ) -> dict[str, Any]:
        match request:
            case Launch():
                return self._launch(connection, request, descriptors.pop())
            case StartJob():
                org_id = self._org_id(connection, request)
                return self._jobs.start(connection, request, org_id, descriptors)
            case Terminate():
                self._runs.terminate(request)
            case Kill():
                self._jobs.kill(connection, request)
            case Status():
                return self._runs.status(request.run_id)
            case Info():
                return self._info()
        return {}

    def _launch(self, connection: Connection, request: Launch, order_fd: int) -> dict[str, Any]:
        try:
            self._refuse_when_draining()
            if connection.has_gone():
                # It has given up, and the run is back in the queue: nobody must start it now.
                raise Refusal(Code.REFUSED, "Nobody waits for this launch any more.")
        except Refusal:
            os.close(order_fd)
            raise
        return {"worker": self._runs.launch(request, order_fd), "host": self._name}

    def _org_id(self, connection: Connection, request: StartJob) -> int:
        if connection.run_id is not None:
            return self._runs.org_id_of(connection.run_id)
        self._refuse_when_draining()
        if request.org_id is None:
            raise Refusal(Code.INVALID, "Say for which organization.")
        return request.org_id

    def _refuse_when_draining(self) -> None:
        if self._is_draining:
            raise Refusal(Code.DRAINING, "This worker host starts nothing new.")

    def _info(self) -> dict[str, Any]:
        own = worker.of_pid(os.getpid())
        fence = self._ground.fence
        return {
            "host": self._name,
            "pid": os.getpid(),
            "started": own.started if own else "",
            "is_draining": self._is_draining,
            "threads": _threads(),
            "children": [
                {"pid": one.pid, "role": one.kind, **one.label}
                for one in self._children.of_kind("run", "job", "post_mortem")
            ],
            "isolation": {"level": fence.level.value, "reason": fence.reason},
        }

    def _forget(self) -> None:
        """Lets go, in a child, of everything that is none of its business."""
        self._children.clear()
        self._runs.clear()
        self._jobs.clear()
        for connection in self._connections:
            connection.abandon()
        self._connections.clear()
        for end in (self._wake, self._woken):
            end.detach()
        self._door.forget()


def _threads() -> int:
    with contextlib.suppress(OSError):
        return len(list(Path("/proc/self/task").iterdir()))
    return 1
