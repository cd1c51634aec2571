"""The connection of a run's own process to its host, where this process is such a run.

A number of a descriptor in the environment would be inherited, and could be made up; here only the
host's fork puts one.
"""

from dataclasses import dataclass

from datanika_dagster.launcher.host.client import HostConnection


@dataclass
class _Holder:
    connection: HostConnection | None = None


_HOLDER = _Holder()


def keep(connection: HostConnection) -> None:
    """Makes this process a run of a host."""
    _HOLDER.connection = connection


def find() -> HostConnection | None:
    """Returns the connection, None for a process that no host has started as a run."""
    return _HOLDER.connection
