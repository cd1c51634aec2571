"""What can go wrong with dependencies."""

from control_plane.core.errors import Conflict


class CircularDependency(Conflict):
    """An edge would close a circle; the detail has the way round."""

    code = "circular_dependency"
    title = "A circle of dependencies"
