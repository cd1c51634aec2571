"""What goes wrong with an org's keys."""

from control_plane.core.errors import Sealed


class KeysDestroyed(Sealed):
    """The org was deleted together with its data keys: no password brings its secrets back."""

    status = 409
    code = "keys_destroyed"
    title = "Keys destroyed"
    is_retryable = False
