"""The PostgreSQL clusters in a home: the stack's own, and the demo's source where there is one."""

from dataclasses import dataclass
from datetime import datetime

from datanika_stack.clock import utc_now
from datanika_stack.errors import StackError
from datanika_stack.layout import Home, Ports
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.process_spec import ProcessInfo, ProcessState
from datanika_stack.secrets import Secrets


def stack_cluster(home: Home, ports: Ports, secrets: Secrets) -> EmbeddedPostgres:
    """Returns the stack's own cluster."""
    return EmbeddedPostgres(
        home.postgres_dir,
        ports.postgres,
        home.postgres_socket_dir,
        secrets.postgres_password,
        log_file=home.logs_dir / "postgres.log",
    )


def source_cluster(home: Home, ports: Ports, secrets: Secrets) -> EmbeddedPostgres:
    """Returns the demo's source cluster."""
    return EmbeddedPostgres(
        home.source_dir,
        ports.source,
        home.source_socket_dir,
        secrets.source_password,
        log_file=home.logs_dir / "source.log",
    )


@dataclass
class ManagedCluster:
    """A cluster that is kept running.

    Attributes:
        name: As `status` shows it.
        cluster: What is started.
        is_optional: Started only where it was made before; somebody else makes it.
    """

    name: str
    cluster: EmbeddedPostgres
    is_optional: bool = False
    restarts: int = 0
    started_at: datetime | None = None

    def start(self) -> None:
        """Starts the cluster, or adopts it where it survived its supervisor."""
        if self.is_optional and not self.cluster.exists:
            return
        self.cluster.start()
        self.started_at = utc_now()

    def tick(self) -> None:
        """Starts the cluster again if it died."""
        if self.started_at is None or self.cluster.is_running():
            return
        self.restarts += 1
        try:
            self.cluster.start()
        except (StackError, OSError):
            return  # its log says why; the next tick tries again
        self.started_at = utc_now()

    def stop(self) -> None:
        """Stops the cluster, also one that somebody else has started in this home."""
        self.started_at = None
        self.cluster.stop()

    def info(self) -> ProcessInfo | None:
        """Returns a snapshot for the state file; None where there is no such cluster."""
        if self.started_at is None:
            return None
        pid = self.cluster.pid
        state = ProcessState.RUNNING if pid else ProcessState.WAITING
        started_at = self.started_at.isoformat()
        return ProcessInfo(self.name, pid, state.value, self.restarts, started_at, None)


def managed_clusters(
    home: Home, ports: Ports, secrets: Secrets, *, is_embedded: bool
) -> list[ManagedCluster]:
    """Returns what a supervisor keeps running.

    Args:
        home: The stack's home.
        ports: The stack's ports.
        secrets: The clusters' passwords.
        is_embedded: Whether the stack's own cluster is among them.
    """
    optional = ManagedCluster("source", source_cluster(home, ports, secrets), is_optional=True)
    if not is_embedded:
        return [optional]
    return [ManagedCluster("postgres", stack_cluster(home, ports, secrets)), optional]
