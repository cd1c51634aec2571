"""Keeps one lean code server per org, on the manifest that the org has published.

A changed manifest replaces the process: the old one has exited before the new one listens. Webserver
and daemon see it by the server's id, which is the manifest's hash.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from datanika_stack.base_environment import PYTHON
from datanika_stack.health import socket_accepts
from datanika_stack.locations import CodeLocation, write_workspace
from datanika_stack.private_files import make_private_directory
from datanika_stack.processes import ManagedProcess, ProcessSpec

_LONGEST_SOCKET_NAME: Final = 40


@dataclass(frozen=True)
class CodeServerPlan:
    """What the code servers have in common.

    Attributes:
        dagster_home: Where `workspace.yaml` is written.
        socket_dir: Where they listen; only webserver and daemon may open it.
        log_dir: Where they log.
        control_plane_url: Where they fetch their manifest.
        dagster_reader_url: Dagster's storage with a role that can only read; evaluating a
            schedule opens the instance.
        environment: The bare environment of a process.
    """

    dagster_home: Path
    socket_dir: Path
    log_dir: Path
    control_plane_url: str
    dagster_reader_url: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)

    def socket(self, org: str) -> Path:
        """Returns where an org's code server listens; short, whatever the org's name."""
        if len(org) > _LONGEST_SOCKET_NAME:
            org = hashlib.sha256(org.encode()).hexdigest()[:_LONGEST_SOCKET_NAME]
        return self.socket_dir / f"{org}.sock"

    def spec(self, location: CodeLocation) -> ProcessSpec:
        """Returns the code server of an org: it can write nowhere and has no tenant's secret."""
        socket = self.socket(location.org)
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
            "DATANIKA_DAGSTER_STORAGE_URL": self.dagster_reader_url,
            "DATANIKA_SERVICE_TOKEN": location.token,
        }
        name = f"code_server_{location.org}"
        health = socket_accepts(socket)
        return ProcessSpec(
            name, command, environment, self.dagster_home, health=health, grace_seconds=3.0
        )


class CodeServers:
    """The code servers of a stack, and the workspace file that names them."""

    def __init__(self, plan: CodeServerPlan) -> None:
        self._plan = plan
        self._processes: dict[str, ManagedProcess] = {}
        self._published: dict[str, str] = {}

    def prepare(self) -> None:
        """Makes the socket directory and a workspace file, so that Dagster can start."""
        make_private_directory(self._plan.socket_dir)
        for leftover in self._plan.socket_dir.glob("*.sock"):
            leftover.unlink(missing_ok=True)
        self._write_workspace()

    def processes(self) -> list[ManagedProcess]:
        """Returns the processes, in no order that means anything."""
        return list(self._processes.values())

    def sync(self, locations: Sequence[CodeLocation]) -> None:
        """Starts, replaces and stops code servers so that they are what is published."""
        wanted = {location.org: location for location in locations}
        for org in set(self._processes) - set(wanted):
            self._processes.pop(org).end()
            del self._published[org]
            self._plan.socket(org).unlink(missing_ok=True)
        for org, location in wanted.items():
            self._sync_one(org, location)
        self._write_workspace()

    def _sync_one(self, org: str, location: CodeLocation) -> None:
        spec = self._plan.spec(location)
        if org not in self._processes:
            process = self._processes[org] = ManagedProcess(spec, self._plan.log_dir)
            process.start()
        elif self._published[org] != location.sha256:
            self._processes[org].replace(spec)
        self._published[org] = location.sha256

    def _write_workspace(self) -> None:
        sockets = [(f"org_{org}", self._plan.socket(org)) for org in self._processes]
        write_workspace(self._plan.dagster_home / "workspace.yaml", sockets)
