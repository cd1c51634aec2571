"""What can go wrong with uploads."""

from control_plane.core.errors import Conflict


class TargetConflict(Conflict):
    """Two source tables would be loaded into the same table; the detail names both."""

    code = "target_conflict"
    title = "Two tables with one target"
