"""Runs interactive work (connection test, discovery, parse, preview, sample) outside this process.

`run` is the one call (architecture, decision 16). The control plane imports no engine and opens
no tenant's database: a child of the warm worker host does. The task token is redeemed here, in this
process, once the child is there; the child is given the credentials and nothing else.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from control_plane.core.errors import Forbidden, Unauthorized, Upstream
from control_plane.core.slots import Slots
from control_plane.core.worker_hosts import (
    MAXIMUM_ANSWER_BYTES,
    AnswerTooLong,
    Child,
    ChildEnded,
    HostGone,
    Wanted,
    WorkerHosts,
)

GRACE_SECONDS = 5.0
"""The host ends a task at its deadline and kills it two seconds later; who is not heard of then is stuck."""

MAXIMUM_ERROR_CHARACTERS = 2_000
MAXIMUM_NAME_CHARACTERS = 200


class TaskFailed(Exception):
    """The work ran and failed for a reason that the user can act on.

    Attributes:
        code: Stable, for example `connection.auth`.
        message: What happened, without any secret.
        field: The object that is to blame, where there is one.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


@dataclass(frozen=True)
class PresentedToken:
    """A task token, and who presents it.

    Attributes:
        org_id: Its org.
        text: As it was minted.
        ip_address: Where the request came from.
        request_id: Ties the audit entry to the request's log lines.
    """

    org_id: int
    text: str = field(repr=False)
    ip_address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Granted:
    """What a token was exchanged for.

    Attributes:
        connections: By slug, with their secrets.
        networks: What tasks are told about networks, part of their payloads.
    """

    connections: Mapping[str, Any] = field(repr=False)
    networks: Mapping[str, Any]


Redeem = Callable[[PresentedToken], Granted]


@dataclass(frozen=True)
class TaskRunner:
    """Has a worker host start one child for each task.

    Attributes:
        hosts: Where children come from.
        redeem: Uses a token up; raises as the internal route for it answers.
        slots: How many may run at once.
    """

    hosts: WorkerHosts
    redeem: Redeem
    slots: Slots = field(default_factory=Slots)

    def run(
        self, kind: str, payload: dict[str, Any], *, token: PresentedToken, deadline_seconds: float
    ) -> Any:
        """Does the work and returns its value.

        Args:
            kind: Which task, a name of the execution plane's registry.
            payload: JSON; no secrets.
            token: Gives the task its credentials.
            deadline_seconds: After this long the task is killed with all that it has started.

        Raises:
            TaskFailed: The work failed for a reason of the user's.
            Upstream: The task died or answered nothing readable, or its host is gone or stuck.
            Unavailable: No worker host takes the task.
            Sealed: The platform was sealed meanwhile.
        """
        deadline = time.monotonic() + deadline_seconds + GRACE_SECONDS
        with self.hosts.start(Wanted(kind, token.org_id, deadline_seconds)) as child:
            granted = self._granted(token)
            order = {
                "form": "task",
                "entry": kind,
                # Last: what a payload says of networks does not count.
                "payload": {**payload, **granted.networks},
                "secrets": granted.connections,
            }
            child.tell(order, timeout_seconds=deadline_seconds)
            return _value(kind, _read_answer(kind, child, deadline, deadline_seconds))

    def _granted(self, token: PresentedToken) -> Granted:
        try:
            return self.redeem(token)
        except (Unauthorized, Forbidden) as error:
            # Of the token, and not of the person who asks.
            raise TaskFailed("control_plane.refused", error.detail) from None


def _read_answer(kind: str, child: Child, deadline: float, deadline_seconds: float) -> bytes:
    try:
        return child.answer(deadline)
    except ChildEnded as ended:
        _raise_ended(kind, ended.reason, deadline_seconds)
    except HostGone:
        raise Upstream(
            f"The task '{kind}' was lost: its worker host has ended. Try again."
        ) from None
    except AnswerTooLong:
        raise Upstream(
            f"The task '{kind}' answered with more than {MAXIMUM_ANSWER_BYTES >> 20} MiB."
        ) from None
    except TimeoutError:
        raise Upstream(
            f"The task '{kind}' did not end within {deadline_seconds:.0f} seconds, and its worker "
            "host says nothing."
        ) from None


def _raise_ended(kind: str, reason: str | None, deadline_seconds: float) -> NoReturn:
    match reason:
        case "deadline":
            raise TaskFailed("task.timeout", f"It took longer than {deadline_seconds:.0f} seconds.")
        case "memory":
            raise TaskFailed("task.memory", "It needed more memory than a task may use.")
        case _:
            raise Upstream(f"The task '{kind}' ended without an answer.")


def _value(kind: str, line: bytes) -> Any:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Upstream(f"The task '{kind}' ended without an answer.")
    answer = cast("dict[str, Any]", answer)
    if answer.get("ok") is True:
        return answer.get("value")
    given = answer.get("error")
    error = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    blamed = error.get("field")
    raise TaskFailed(
        str(error.get("code", "task.failed"))[:MAXIMUM_NAME_CHARACTERS],
        str(error.get("message", "The task failed."))[:MAXIMUM_ERROR_CHARACTERS],
        blamed[:MAXIMUM_NAME_CHARACTERS] if isinstance(blamed, str) else None,
    )
