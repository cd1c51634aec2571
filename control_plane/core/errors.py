"""Every error that the control plane answers with.

The tree:

    DatanikaError
    ├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404
    ├── Conflict 409 · InvalidState 409 · PreconditionFailed 412
    ├── Invalid 422 (with the fields) · Sealed 423 · Throttled 429
    └── Upstream 502 · Unavailable 503

Each class has a stable `code`, append-only and documented in docs/errors.md. A feature's own
errors derive from these in its `errors.py`. Messages name what was received and what is allowed,
never a secret's value.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field.

    Attributes:
        pointer: JSON pointer into the request body, for example `/config/table_names/0`.
        detail: What was received and what is allowed.
    """

    pointer: str
    detail: str


class DatanikaError(Exception):
    """Base of every error with a stable code.

    Attributes:
        status: The HTTP status.
        code: The stable code.
        title: The kind of problem, the same for each occurrence.
        is_retryable: True where the same call can succeed later without a change.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    is_retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class BadRequest(DatanikaError):
    """The request cannot be read."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class Unauthorized(DatanikaError):
    """Nobody, or nobody any more: no valid session, key or token."""

    status = 401
    code = "unauthorized"
    title = "Not signed in"


class Forbidden(DatanikaError):
    """Known, but not allowed to."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFound(DatanikaError):
    """No such thing, or another org's: the two cannot be told apart."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(DatanikaError):
    """It would clash with what exists."""

    status = 409
    code = "conflict"
    title = "Conflict"


class InvalidState(DatanikaError):
    """Not possible in the present state."""

    status = 409
    code = "invalid_state"
    title = "Not possible now"


class PreconditionFailed(DatanikaError):
    """The resource has changed since the caller read it."""

    status = 412
    code = "precondition_failed"
    title = "Changed meanwhile"


class Invalid(DatanikaError):
    """A payload that breaks a rule; `errors` names each field."""

    status = 422
    code = "invalid"
    title = "Invalid input"

    @classmethod
    def field(cls, pointer: str, detail: str) -> "Invalid":
        """Makes the error of a single field."""
        return cls(detail, errors=(FieldError(pointer, detail),))


class Sealed(DatanikaError):
    """Secrets cannot be read: the keys that were given do not open them."""

    status = 423
    code = "sealed"
    title = "Sealed"
    is_retryable = True


class Throttled(DatanikaError):
    """Too many attempts.

    Attributes:
        retry_after_seconds: When the next attempt makes sense.
    """

    status = 429
    code = "throttled"
    title = "Too many requests"
    is_retryable = True

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Upstream(DatanikaError):
    """A system that the request needs answered with an error or not at all."""

    status = 502
    code = "upstream"
    title = "An upstream system failed"
    is_retryable = True


class Unavailable(DatanikaError):
    """A part of this stack is not ready yet.

    Attributes:
        retry_after_seconds: When the next attempt makes sense, where somebody knows.
    """

    status = 503
    code = "unavailable"
    title = "Not ready"
    is_retryable = True

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
