"""Why a run was not launched."""

from control_plane.core.errors import Conflict, Invalid, Throttled


class LaunchInProgress(Conflict):
    """The same `Idempotency-Key` is being worked on."""

    code = "launch_in_progress"
    is_retryable = True


class IdempotencyKeyReused(Invalid):
    """The `Idempotency-Key` was used for another body."""

    code = "idempotency_key_reused"


class QuotaExceeded(Throttled):
    """The organization has started as many runs within the hour as it may."""

    code = "quota_exceeded"
