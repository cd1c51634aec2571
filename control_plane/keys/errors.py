"""What goes wrong with the platform's keys."""

from control_plane.core.errors import Forbidden


class WrongMasterPassword(Forbidden):
    """The master password is another one."""

    code = "wrong_master_password"
    title = "Wrong master password"
