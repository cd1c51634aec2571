"""What can go wrong when a source is looked at."""

from control_plane.core.errors import Upstream


class DiscoveryFailed(Upstream):
    """The database of a connection could not be looked at; the detail says which and why."""

    code = "discovery_failed"
    title = "The source could not be read"
