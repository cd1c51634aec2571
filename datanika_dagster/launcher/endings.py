"""What the ending of a job means to its step."""

import signal
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from datanika_dagster.errors import MessageRefused
from datanika_dagster.launcher.job_processes import Ending
from datanika_dagster.launcher.messages import StepContract

RETRYABLE = 75  # EX_TEMPFAIL of sysexits.h
CANCELLED = 130
NAMED = 10
_REASONS: Mapping[str | None, str] = {
    "memory": "The job was killed (SIGKILL): it or the machine was out of memory.",
    "processes": "The job was killed (SIGKILL): it had too many processes.",
    "disk": "The job was killed (SIGKILL): it had written too much to disk.",
    "deadline": "The job was stopped at its deadline.",
}


class _Error(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str
    message: str
    field: str | None = None


class _Outcome(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ok: bool
    value: JsonValue = None
    error: _Error | None = None


def read_outcome(outcome: Any) -> Mapping[str, Any]:
    """Returns a job's own account of how it ended.

    Raises:
        MessageRefused: It has another form.
    """
    try:
        return _Outcome.model_validate(outcome).model_dump()
    except ValidationError:
        raise MessageRefused("The job ended with a message of another form.") from None


def is_retryable(ending: Ending | None) -> bool:
    """Tells whether a job that has failed said that the same job may succeed later."""
    return ending is not None and ending.exit_code == RETRYABLE


def raise_unless_complete(
    ending: Ending | None, outcome: Mapping[str, Any] | None, contract: StepContract
) -> None:
    """Returns if the job did all of its step.

    Args:
        ending: Of the job's process, None where it would not end.
        outcome: The job's own account, None where it gave none.
        contract: What it was to report, and what it did.

    Raises:
        Failure: Anything is missing; `description` says what.
    """
    error = (outcome or {}).get("error")
    exit_code = ending.exit_code if ending else None
    if error:
        raise dg.Failure(
            error["message"],
            metadata={"datanika/code": error["code"], "datanika/field": error["field"] or ""},
            allow_retries=is_retryable(ending),
        )
    if exit_code != 0 or not outcome:
        raise dg.Failure(_death(ending), allow_retries=exit_code == -signal.SIGKILL)
    missing = contract.unreported()
    if missing:
        names = ", ".join(missing[:NAMED]) + (" and more" if len(missing) > NAMED else "")
        raise dg.Failure(f"The job ended without reporting {names}.", allow_retries=False)


def _death(ending: Ending | None) -> str:
    if ending is None:
        return "The job said it was done and did not end; it was killed."
    if ending.reason in _REASONS:
        return _REASONS[ending.reason]
    if ending.exit_code == -signal.SIGKILL:
        return "The job was killed (SIGKILL). The machine may have run out of memory."
    if ending.exit_code < 0:
        return f"The job was ended by {signal.Signals(-ending.exit_code).name}."
    if ending.exit_code == CANCELLED:
        return "The job was cancelled."
    return f"The job ended with exit code {ending.exit_code} without saying why."
