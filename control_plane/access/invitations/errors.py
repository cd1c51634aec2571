"""What goes wrong with invitations."""

from control_plane.core.errors import Conflict, Unauthorized, Upstream


class SignInRequired(Unauthorized):
    """The invited address has an account: its owner signs in first."""

    code = "sign_in_required"
    title = "Sign in first"


class InvitationOpen(Conflict):
    """The address has been invited already."""

    code = "invitation_open"
    title = "Invited already"


class InvitationNotMailed(Upstream):
    """The invitation is made, but its link has reached nobody."""

    code = "invitation_not_mailed"
    title = "The invitation was not mailed"
