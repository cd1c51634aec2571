"""What can go wrong in a sign-in by a provider."""

from control_plane.core.errors import BadRequest, Conflict, Forbidden, Unauthorized, Upstream


class AttemptInvalid(BadRequest):
    """The callback does not belong to a sign-in of this browser that is under way."""

    code = "oauth_attempt_invalid"
    title = "Sign-in not under way"

    def __init__(self) -> None:
        super().__init__(
            "This sign-in was not started in this browser, took longer than ten minutes or is"
            " finished already; start again."
        )


class AccessDenied(Forbidden):
    """The person did not agree at the provider."""

    code = "oauth_access_denied"
    title = "Not agreed"


class EmailUnverified(Forbidden):
    """The provider does not vouch for the e-mail address."""

    code = "oauth_email_unverified"
    title = "E-mail address not verified"


class LinkRefused(Conflict):
    """There is an account with the address, but this sign-in may not open it."""

    code = "oauth_link_refused"
    title = "Not linked"


class CodeInvalid(Unauthorized):
    """A one-time code that is unknown, used or too old."""

    code = "oauth_code_invalid"
    title = "Code not valid"

    def __init__(self) -> None:
        super().__init__("The code is not valid, was used already or has expired; sign in again.")


class ProviderFailed(Upstream):
    """A provider answered with an error, with something else than it should, or not at all."""

    code = "oauth_provider_failed"
    title = "The provider failed"
