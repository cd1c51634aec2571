"""Keeps one lean code server per org, on the manifest that the org has published.

A changed manifest replaces the process: the old one has exited before the new one listens. Webserver
and daemon see it by the server's id, which is the manifest's hash.
"""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from datanika_dagster.run_logins import reader_url_of
from datanika_stack.base_environment import PYTHON
from datanika_stack.health import socket_accepts
from datanika_stack.locations import CodeLocation, read_workspace, write_workspace
from datanika_stack.private_files import make_private_directory
from datanika_stack.processes import ManagedProcess, ProcessSpec

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class CodeServerPlan:
    """What the code servers have in common.

    Attributes:
        dagster_home: Where `workspace.yaml` is written.
        socket_dir: Where they listen; only webserver and daemon may open it.
        log_dir: Where they log.
        control_plane_url: Where they fetch their manifest.
        dagster_storage_url: Dagster's storage; any login in it is replaced by the org's own.
        dagster_login_key: Makes that login's password. It can only read the org's own rows;
            evaluating a schedule opens the instance.
        environment: The bare environment of a process.
    """

    dagster_home: Path
    socket_dir: Path
    log_dir: Path
    control_plane_url: str
    dagster_storage_url: str = field(repr=False)
    dagster_login_key: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)

    def socket(self, org_id: int) -> Path:
        """Returns where an org's code server listens.

        Named by number: a name that the org chose could be too long, or be made to be another's.
        """
        return self.socket_dir / f"org_{org_id}.sock"

    @property
    def workspace_file(self) -> Path:
        """The code locations that webserver and daemon load."""
        return self.dagster_home / "workspace.yaml"

    def spec(self, location: CodeLocation) -> ProcessSpec:
        """Returns the code server of an org: it can write nowhere and has no tenant's secret."""
        socket = self.socket(location.org_id)
        command = (
            *PYTHON, "dagster", "api", "grpc", "--socket", str(socket),
            "--module-name", "datanika_dagster.definitions", "--empty-working-directory",
            "--location-name", location.name, "--fixed-server-id", location.sha256,
            "--use-python-environment-entry-point", "--log-level", "warning",
        )  # fmt: skip
        environment = dict(self.environment) | {
            "DAGSTER_HOME": str(self.dagster_home),
            "DATANIKA_ORG": location.org,
            "DATANIKA_MANIFEST": location.sha256,
            "DATANIKA_CONTROL_PLANE_URL": self.control_plane_url,
            "DATANIKA_DAGSTER_STORAGE_URL": reader_url_of(
                self.dagster_storage_url, location.org_id, self.dagster_login_key
            ),
            "DATANIKA_SERVICE_TOKEN": location.token,
        }
        name = f"code_server_{location.org_id}"
        health = socket_accepts(socket)
        return ProcessSpec(
            name, command, environment, self.dagster_home, health=health, grace_seconds=3.0
        )


class CodeServers:
    """The code servers of a stack, and the workspace file that names them."""

    def __init__(self, plan: CodeServerPlan) -> None:
        self._plan = plan
        self._processes: dict[int, ManagedProcess] = {}
        self._published: dict[int, CodeLocation] = {}
        self._is_workspace_written = True

    def prepare(self) -> None:
        """Makes the socket directory and a workspace file, so that Dagster can start.

        The file names the locations of before, although nobody listens there yet: the schedules of a
        location that is in error wait, those of one that is missing are forgotten, and with them
        which ticks they have missed (docs/decisions/0109-ticks-survive.md).
        """
        make_private_directory(self._plan.socket_dir)
        self.remove_sockets()
        known = read_workspace(self._plan.workspace_file)
        sockets = [(name, self._plan.socket_dir / socket.name) for name, socket in known]
        write_workspace(self._plan.workspace_file, sockets)

    def processes(self) -> list[ManagedProcess]:
        """Returns the processes, in no order that means anything."""
        return list(self._processes.values())

    def sync(self, locations: Sequence[CodeLocation]) -> None:
        """Starts, replaces and stops code servers so that they are what is published.

        What cannot be written now is tried again by the next call.
        """
        wanted = {location.org_id: location for location in locations}
        for org_id in set(self._processes) - set(wanted):
            self._processes.pop(org_id).end()
            del self._published[org_id]
            with contextlib.suppress(OSError):
                self._plan.socket(org_id).unlink()
        for location in wanted.values():
            self._sync_one(location)
        self._write_workspace()

    def beat(self) -> None:
        """Leaves a sign of life for whoever watches from outside: a fresh file beside the sockets."""
        with contextlib.suppress(OSError):
            (self._plan.socket_dir / "heartbeat").touch(mode=0o600)

    def remove_sockets(self) -> None:
        """Removes what ended code servers have left in the socket directory."""
        for leftover in self._plan.socket_dir.glob("*.sock"):
            leftover.unlink(missing_ok=True)

    def _sync_one(self, location: CodeLocation) -> None:
        org_id = location.org_id
        spec = self._plan.spec(location)
        if org_id not in self._processes:
            process = self._processes[org_id] = ManagedProcess(spec, self._plan.log_dir)
            process.start()
        elif self._published[org_id].sha256 != location.sha256:
            self._processes[org_id].replace(spec)
        self._published[org_id] = location

    def _write_workspace(self) -> None:
        published = self._published.values()
        sockets = [(location.name, self._plan.socket(location.org_id)) for location in published]
        try:
            write_workspace(self._plan.workspace_file, sockets)
        except OSError as error:
            if self._is_workspace_written:
                _LOGGER.warning("cannot write %s: %s", self._plan.workspace_file, error)
            self._is_workspace_written = False
        else:
            self._is_workspace_written = True
