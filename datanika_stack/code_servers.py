"""Keeps one lean code server per org, on the manifest that the org has published, while it is needed.

A changed manifest replaces the process: the old one has exited before the new one listens. An org whose
server nobody needs has none (`wakefulness.py`); webserver and daemon are told which serve
(`servers_file.py`) and ask for those that sleep (`wake_requests.py`). Few start at a time, and one that
fails again and again waits for minutes: a broken org takes no cores from the others.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from datanika_dagster.run_logins import reader_url_of
from datanika_stack.base_environment import PYTHON
from datanika_stack.clock import utc_now
from datanika_stack.errors import TROUBLE_OF_ONE
from datanika_stack.locations import CodeLocation, read_workspace, write_workspace
from datanika_stack.org_server import OrgServer, ServerPlace, ServerState, spec_of_command
from datanika_stack.own_users import OwnUsers, find_own_users
from datanika_stack.private_files import make_private_directory
from datanika_stack.process_spec import ProcessSpec
from datanika_stack.processes import ManagedProcess
from datanika_stack.server_ping import grpc_serves, in_background
from datanika_stack.servers_file import ServerEntry, ServersFile
from datanika_stack.wake_requests import WakeRequests
from datanika_stack.wakefulness import Wakefulness

_LOGGER: Final = logging.getLogger(__name__)
DEFAULT_UID_BASE: Final = 1_000_000
# Whoever still starts after this long does not keep the next one waiting.
_START_SECONDS: Final = 15.0


@dataclass(frozen=True)
class CodeServerPlan:
    """What the code servers have in common.

    Attributes:
        dagster_home: Where `workspace.yaml` is written.
        socket_dir: Below it they listen; only webserver and daemon may open it.
        log_dir: Where they log.
        control_plane_url: Where they fetch their manifest.
        dagster_storage_url: Dagster's storage; any login in it is replaced by the org's own.
        dagster_login_key: Makes that login's password. It can only read the org's own rows;
            evaluating a schedule opens the instance.
        environment: The bare environment of a process.
        idle_after: How long after its last use a server may sleep; zero: never.
        uid_base: The first of the users that orgs have where the stack is root.
        starts_at_once: How many start at a time.
        python: The interpreter's command.
    """

    dagster_home: Path
    socket_dir: Path
    log_dir: Path
    control_plane_url: str
    dagster_storage_url: str = field(repr=False)
    dagster_login_key: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    idle_after: timedelta = timedelta(minutes=15)
    uid_base: int = DEFAULT_UID_BASE
    starts_at_once: int = field(default_factory=lambda: os.cpu_count() or 1)
    python: tuple[str, ...] = PYTHON

    @property
    def workspace_file(self) -> Path:
        """The code locations that webserver and daemon load."""
        return self.dagster_home / "workspace.yaml"

    def place(self, org_id: int, users: OwnUsers) -> ServerPlace:
        """Returns where an org's code server runs.

        Named by number: a name that the org chose could be too long, or be made to be another's.
        """
        return ServerPlace(self.socket_dir / f"org_{org_id}", users.uid_of(org_id))

    def spec(self, location: CodeLocation, place: ServerPlace) -> ProcessSpec:
        """Returns the code server of an org; it has no tenant's secret."""
        command = (
            *self.python, "datanika_dagster.code_server", "--socket", place.own_socket,
            "--module-name", "datanika_dagster.definitions", "--empty-working-directory",
            "--location-name", location.name, "--fixed-server-id", location.sha256,
            "--use-python-environment-entry-point", "--log-level", "warning",
        )  # fmt: skip
        environment = dict(self.environment) | {
            "DATANIKA_ORG": location.org,
            "DATANIKA_MANIFEST": location.sha256,
            "DATANIKA_CONTROL_PLANE_URL": self.control_plane_url,
            "DATANIKA_DAGSTER_STORAGE_URL": reader_url_of(
                self.dagster_storage_url, location.org_id, self.dagster_login_key
            ),
            "DATANIKA_SERVICE_TOKEN": location.token,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return spec_of_command(f"code_server_{location.org_id}", command, environment, place)


class CodeServers:
    """The code servers of a stack, and the files that name them."""

    def __init__(self, plan: CodeServerPlan) -> None:
        self._plan = plan
        self._servers: dict[int, OrgServer] = {}
        self._published: Sequence[CodeLocation] | None = None
        self._requests = WakeRequests(plan.socket_dir / "wake")
        self._file = ServersFile(plan.dagster_home, self._requests.directory)
        self._users = OwnUsers(None, "not prepared")
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="code-server-health")
        self._are_files_written = True
        self._troubles: dict[int, str] = {}

    @property
    def isolation(self) -> str | None:
        """Why the servers have no users of their own; None where they have."""
        return self._users.reason

    def prepare(self) -> None:
        """Makes the socket directory and a workspace file, so that Dagster can start.

        The files name the locations of before, although nobody listens there yet: the schedules of a
        location that is in error wait, those of one that is missing are forgotten, and with them
        which ticks they have missed (docs/decisions/0109-ticks-survive.md).

        Raises:
            StackError: Somebody else owns the socket directory.
        """
        plan = self._plan
        make_private_directory(plan.socket_dir)
        self.remove_sockets()
        self._requests.prepare()
        self._users = find_own_users(plan.uid_base, plan.python, plan.environment)
        if self._users.reason:
            _LOGGER.info("code servers run as this user: %s", self._users.reason)
        self._file.put_to_sleep()
        known = read_workspace(plan.workspace_file)
        sockets = [(name, plan.socket_dir / path.parent.name / path.name) for name, path in known]
        write_workspace(plan.workspace_file, sockets)

    def processes(self) -> list[ManagedProcess]:
        """Returns the processes, in no order that means anything."""
        return [server.process for server in self._servers.values() if server.process]

    def sync(self, locations: Sequence[CodeLocation]) -> None:
        """Takes what is published now; the next `tick` starts, replaces and ends servers.

        Args:
            locations: Of all orgs that are neither suspended nor deleted.
        """
        if locations is self._published:
            return
        is_first = self._published is None
        self._published = locations
        wanted = {location.org_id: location for location in locations}
        for org_id, server in self._servers.items():
            if org_id not in wanted:
                server.withdraw()
        self._troubles = {org_id: it for org_id, it in self._troubles.items() if org_id in wanted}
        for location in wanted.values():
            with self._alone(location):
                self._publish(location, is_first=is_first)

    def tick(self) -> None:
        """Does what is due, and tells webserver and daemon.

        What cannot be written now is tried again by the next call.
        """
        now = utc_now()
        for org_id in self._requests.take():
            server = self._servers.get(org_id)
            if server and server.wakefulness:
                server.wakefulness.use(now)
        for server in self._servers.values():
            with self._alone(server.location):
                server.tick(now)
        self._tick_processes()
        for org_id in [org_id for org_id, server in self._servers.items() if server.is_gone]:
            del self._servers[org_id]
        if self._published is not None:
            self._write_files()

    def beat(self) -> None:
        """Leaves a sign of life for whoever watches from outside: a fresh file beside the sockets."""
        with contextlib.suppress(OSError):
            (self._plan.socket_dir / "heartbeat").touch(mode=0o600)

    def remove_sockets(self) -> None:
        """Removes what ended code servers have left in the socket directory."""
        for leftover in self._plan.socket_dir.glob("org_*"):
            ServerPlace(leftover, None).remove()

    def _publish(self, location: CodeLocation, *, is_first: bool) -> None:
        org_id = location.org_id
        server = self._servers.get(org_id)
        if server is not None and server.has(location):
            # Its token may be a fresh one; a server that runs has its own.
            server.location = location
            return
        wakefulness = Wakefulness(location.automation, self._plan.idle_after)
        is_changed = server is None or server.location.sha256 != location.sha256
        # After a start of the stack webserver and daemon show what they have kept.
        if (not is_first and is_changed) or not self._plan.idle_after:
            wakefulness.use(utc_now())
        elif server is not None and server.wakefulness and server.wakefulness.used_at:
            wakefulness.use(server.wakefulness.used_at)
        if server is None:
            place = self._plan.place(org_id, self._users)
            server = OrgServer(location, place, partial(self._make_process, place))
            self._servers[org_id] = server
        server.publish(location, wakefulness)

    @contextlib.contextmanager
    def _alone(self, location: CodeLocation) -> Iterator[None]:
        """Keeps what goes wrong with one org from the others; says so once for each reason."""
        try:
            yield
        except TROUBLE_OF_ONE as error:
            reason = str(error) or repr(error)
            if self._troubles.get(location.org_id) != reason:
                _LOGGER.warning("%s is left alone for now: %s", location.name, reason)
            self._troubles[location.org_id] = reason

    def _make_process(self, place: ServerPlace, location: CodeLocation) -> ManagedProcess:
        check = in_background(partial(grpc_serves, place.socket), self._pool)
        spec = replace(self._plan.spec(location, place), health=check)
        return ManagedProcess(spec, self._plan.log_dir)

    def _tick_processes(self) -> None:
        servers = list(self._servers.values())
        seconds = (server.starting_seconds for server in servers)
        starting = sum(1 for s in seconds if s is not None and s < _START_SECONDS)
        # Those that somebody has asked for first, those that fail again and again last.
        servers.sort(key=_urgency)
        for server in servers:
            if server.process is None:
                continue
            was_due = server.is_due
            with self._alone(server.location):
                server.process.tick(may_start=starting < self._plan.starts_at_once)
            starting += was_due and not server.is_due

    def _write_files(self) -> None:
        servers = [server for server in self._servers.values() if server.is_published]
        sockets = [(server.location.name, server.socket) for server in servers]
        try:
            self._file.write(
                _entry(server, self._troubles.get(server.location.org_id)) for server in servers
            )
            write_workspace(self._plan.workspace_file, sockets)
        except OSError as error:
            if self._are_files_written:
                _LOGGER.warning("cannot write in %s: %s", self._plan.dagster_home, error)
            self._are_files_written = False
        else:
            self._are_files_written = True


def _urgency(server: OrgServer) -> tuple[int, float]:
    restarts = server.process.restarts if server.process else 0
    used_at = server.wakefulness.used_at if server.wakefulness else None
    return restarts, -used_at.timestamp() if used_at else 0.0


def _entry(server: OrgServer, trouble: str | None) -> ServerEntry:
    location, state = server.location, server.state()
    reason = (trouble or server.reason) if state is not ServerState.SERVING else None
    return ServerEntry(location.name, location.org_id, location.sha256, state.value, reason)
