"""What can go wrong when a source is looked at."""

from control_plane.core.errors import Upstream


class DiscoveryFailed(Upstream):
    """The database of a connection could not be looked at; the detail says which and why."""

    code = "discovery_failed"
    title = "The source could not be read"


class SampleFailed(Upstream):
    """The rows of a table could not be read; the detail says of which and why."""

    code = "sample_failed"
    title = "The rows could not be read"
