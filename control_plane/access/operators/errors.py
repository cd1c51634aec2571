"""What goes wrong with platform operators."""

from control_plane.core.errors import InvalidState


class LastOperator(InvalidState):
    """The platform would be left without an operator."""

    code = "last_operator"
    title = "The last operator"
