"""What goes wrong with members."""

from control_plane.core.errors import InvalidState


class LastOwner(InvalidState):
    """The org would be left without an owner."""

    code = "last_owner"
    title = "The last owner"
