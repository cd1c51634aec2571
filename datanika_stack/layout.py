"""Where a stack keeps what, and on which ports it listens. Pure names: starts and reads nothing."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanika_stack.settings import InheritedEnvironment

DEFAULT_PORT: Final = 8700
PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
# 107 bytes is a Unix socket's limit on Linux, 103 on macOS; the longest name of ours takes 71.
_LONGEST_RUNTIME_DIR: Final = 32


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one stack, counted from its base port."""

    base: int

    @property
    def api(self) -> int:
        """REST API of the control plane."""
        return self.base

    @property
    def dagster(self) -> int:
        """Dagster UI."""
        return self.base + 1

    @property
    def postgres(self) -> int:
        """The stack's PostgreSQL."""
        return self.base + 2

    @property
    def source(self) -> int:
        """The demo's source database."""
        return self.base + 3


@dataclass(frozen=True)
class Home:
    """The directory of one stack (`$DATANIKA_HOME`)."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """Returns the home at a path as a person gives it."""
        return cls(path.expanduser().resolve())

    @property
    def secrets_file(self) -> Path:
        """The generated secrets, 0600."""
        return self.path / "secrets.env"

    @property
    def state_file(self) -> Path:
        """What the supervisor tells about itself; holds no secret."""
        return self.path / "supervisor.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the running supervisor."""
        return self.path / "supervisor.lock"

    @property
    def postgres_dir(self) -> Path:
        """The embedded cluster."""
        return self.path / "postgres"

    @property
    def source_dir(self) -> Path:
        """The demo's source cluster, where there is one."""
        return self.path / "source"

    @property
    def dagster_home(self) -> Path:
        """`DAGSTER_HOME` of every Dagster process."""
        return self.path / "dagster"

    @property
    def workspace_file(self) -> Path:
        """The code locations that webserver and daemon load."""
        return self.dagster_home / "workspace.yaml"

    @property
    def logs_dir(self) -> Path:
        """One file per process."""
        return self.path / "logs"

    @property
    def work_dir(self) -> Path:
        """Working directories of jobs, removed after each."""
        return self.path / "work"

    @property
    def dbt_projects_dir(self) -> Path:
        """Generated dbt projects, where no other place is configured."""
        return self.path / "dbt_projects"

    @property
    def runtime_dir(self) -> Path:
        """Short, private directory of the Unix sockets; the same for each start of this home."""
        name = hashlib.sha256(str(self.path).encode()).hexdigest()[:10]
        inherited = InheritedEnvironment().runtime_dir
        if inherited and inherited.is_dir() and os.geteuid() != 0:
            own = inherited / f"dn-{name}"
            if len(str(own)) <= _LONGEST_RUNTIME_DIR:
                return own
        return Path("/tmp") / f"dn-{os.geteuid()}-{name}"  # noqa: S108 - made 0700 and checked

    @property
    def provisioner_socket(self) -> Path:
        """Where the provisioner listens."""
        return self.runtime_dir / "provisioner.sock"

    @property
    def key_agent_socket(self) -> Path:
        """Where the key agent listens."""
        return self.runtime_dir / "keys.sock"

    @property
    def postgres_socket_dir(self) -> Path:
        """Where the embedded cluster listens besides TCP."""
        return self.runtime_dir / "pg"

    @property
    def source_socket_dir(self) -> Path:
        """Where the demo's source cluster listens besides TCP."""
        return self.runtime_dir / "source"

    @property
    def worker_sockets_dir(self) -> Path:
        """Where worker hosts listen."""
        return self.runtime_dir / "workers"

    @property
    def code_servers_dir(self) -> Path:
        """Where code servers listen."""
        return self.runtime_dir / "code"
