"""Why something cannot be published or launched."""

from control_plane.core.errors import InvalidState


class NotPublished(InvalidState):
    """It is not part of the manifest that new runs use."""

    code = "not_published"
