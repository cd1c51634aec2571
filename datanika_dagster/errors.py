"""Errors of the execution plane, with texts that are shown to people and hold no secret."""


class ExecutionError(Exception):
    """Base of what this package raises on purpose.

    Attributes:
        code: Stable and dotted.
    """

    code = "execution.failed"


class SettingMissing(ExecutionError):
    """An environment variable that is needed here is not set."""

    code = "execution.setting_missing"


class ControlPlaneUnreachable(ExecutionError):
    """The control plane did not answer; later it may.

    Attributes:
        may_have_arrived: Whether the question may have reached it all the same.
    """

    code = "control_plane.unreachable"

    def __init__(self, message: str, *, may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


class ControlPlaneRefused(ExecutionError):
    """The control plane answered no.

    Attributes:
        status: The HTTP status.
        detail: Its own reason.
        reason_code: The stable code of the reason (docs/errors.md); empty where it said none.
    """

    code = "control_plane.refused"

    def __init__(self, status: int, detail: str, reason_code: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason_code = reason_code


class PlatformSealed(ControlPlaneRefused):
    """The control plane cannot read secrets until somebody unlocks it; later it may."""

    code = "control_plane.sealed"


class MessageRefused(ExecutionError):
    """A job said something that its step does not allow."""

    code = "job.message_refused"


class RunRefused(ExecutionError):
    """A run may not be stored or started as asked."""

    code = "run.refused"


class QuotaExceeded(RunRefused):
    """The org has started as many runs within the hour as it may; later it may again."""

    code = "run.quota_exceeded"
