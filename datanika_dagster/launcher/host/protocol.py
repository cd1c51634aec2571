"""What a worker host and its clients say to each other: one JSON line per request and answer.

Descriptors go with the first byte of the request that they belong to. Knows no socket and no process.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

REQUEST_BYTES = 1 << 16
ANSWER_BYTES = 1 << 20
LONGEST_SECONDS = 7 * 24 * 3600.0

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
OrgId = Annotated[int, Field(ge=1, lt=1 << 31, strict=True)]
JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]


class Code(StrEnum):
    """Why a host does not do what it was asked for."""

    DRAINING = "draining"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    FULL = "full"
    REFUSED = "refused"


class Refusal(Exception):
    """A request that is answered with an error.

    Attributes:
        code: Which kind.
        message: For people; repeats nothing of the request.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def answer(self) -> dict[str, Any]:
        """Returns the answer that says so."""
        return {"ok": False, "code": self.code.value, "error": self.message}


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Launch(_Request):
    """Start a run; with it comes the sealed memory that holds its order."""

    op: Literal["launch"] = "launch"
    run_id: RunId
    org: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
    org_id: OrgId


class Terminate(_Request):
    """Ask a run to end, and kill it after a grace."""

    op: Literal["terminate"] = "terminate"
    run_id: RunId
    grace_seconds: Annotated[float, Field(ge=0, le=3600)]


class Status(_Request):
    """Say whether a run's process lives."""

    op: Literal["status"] = "status"
    run_id: RunId


class StartJob(_Request):
    """Start a job; with it come its end of the channel and, where it says so, its output.

    Attributes:
        org_id: Whose; a run's own connection cannot say it, the host knows.
        kind: What it is for, shown by `info`.
        deadline_seconds: After this long it is ended.
        has_network: False where it needs none.
        has_output: Whether a second descriptor takes what it prints.
    """

    op: Literal["job"] = "job"
    org_id: OrgId | None = None
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    deadline_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)]
    has_network: bool = True
    has_output: bool = False


class Kill(_Request):
    """Signal a job of the same connection."""

    op: Literal["kill"] = "kill"
    job: JobId
    signal: Literal["INT", "KILL"]


class Info(_Request):
    """Say what runs here, and how well it is kept apart."""

    op: Literal["info"] = "info"


Request = Annotated[Launch | Terminate | Status | StartJob | Kill | Info, Field(discriminator="op")]
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


def read_request(line: bytes) -> Request:
    """Returns the request of a line.

    Raises:
        Refusal: It is none.
    """
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise Refusal(Code.INVALID, f"Not a request of this host: {where or 'no JSON'}.") from None


def descriptors_of(request: Request) -> int:
    """Returns how many descriptors a request brings along."""
    if isinstance(request, StartJob):
        return 2 if request.has_output else 1
    return 1 if isinstance(request, Launch) else 0


def as_line(message: BaseModel | Mapping[str, Any]) -> bytes:
    """Returns the line of a request or an answer."""
    if isinstance(message, BaseModel):
        return message.model_dump_json().encode() + b"\n"
    return json.dumps(message).encode() + b"\n"


class Lines:
    """Cuts what arrives into lines.

    Args:
        longest_bytes: No line may be longer.
    """

    def __init__(self, longest_bytes: int) -> None:
        self._longest_bytes = longest_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the lines that are whole now.

        Raises:
            Refusal: One is too long.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(len(line) > self._longest_bytes for line in (*lines, self._rest)):
            raise Refusal(Code.INVALID, f"A line has at most {self._longest_bytes} bytes.")
        return lines
