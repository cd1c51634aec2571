"""What a job may say to its run, checked before anything is believed.

A job runs what a tenant wrote, so each line is a claim. Dagster itself would accept a message
about any asset of any org (docs/decisions/0012-a-job-speaks-only-of-its-step.md).
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from datanika_dagster.errors import MessageRefused
from datanika_dagster.launcher.log_allowance import LogAllowance
from datanika_dagster.launcher.texts import storable

LINE_BYTES = 1 << 20
LOG_CHARACTERS = 20_000
METADATA_ENTRIES = 100
LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
SEVERITIES = frozenset({"WARN", "ERROR"})
BEAT = "datanika/beat"
"""The method of a message that only says that the job lives."""

BEAT_SECONDS = 5.0
OUTCOME = "datanika/outcome"
"""The key of the job's last message: how it ended."""


class _Column(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    type: str
    description: str | None = None
    tags: dict[str, str] | None = None
    constraints: dict[str, Any] | None = None


class _TableSchema(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    columns: list[_Column]


def _is_table_schema(value: Any) -> bool:
    try:
        _TableSchema.model_validate(value)
    except ValidationError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


METADATA_TYPES: dict[str, Callable[[Any], bool]] = {
    "__infer__": lambda value: value is None or isinstance(value, str | bool) or _is_number(value),
    "text": lambda value: isinstance(value, str),
    "md": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "json": lambda value: isinstance(value, dict | list),
    "timestamp": _is_number,
    "null": lambda value: value is None,
    "table_schema": _is_table_schema,
}


@dataclass
class StepContract:
    """What the messages of one job may be about; each asset and check once.

    Attributes:
        asset_keys: The step's selected assets, as Dagster's escaped user strings.
        check_keys: The step's selected checks, `(asset key, check name)`.
        logs: How much of what it logs is kept.
    """

    asset_keys: Collection[str]
    check_keys: Collection[tuple[str, str]]
    logs: LogAllowance = field(default_factory=LogAllowance)
    _seen: set[tuple[str, ...]] = field(default_factory=set)
    _is_closed: bool = False

    def read(self, line: bytes) -> dict[str, Any] | None:
        """Returns the message of a line, None for one that is proper and is not kept.

        Raises:
            MessageRefused: It is too long, not a message, or not one that this step may get.
        """
        if len(line) > LINE_BYTES:
            raise MessageRefused("The job sent a message that is too long.")
        try:
            message = storable(json.loads(line))
        except (ValueError, RecursionError):
            raise MessageRefused("The job sent something that is not JSON.") from None
        if not isinstance(message, dict) or not isinstance(message.get("params"), dict):
            raise MessageRefused("The job sent something that is not a message.")
        method, params = str(message.get("method")), message["params"]
        self._check(method, params)
        if method == BEAT or (method == "log" and not self.logs.takes(params["message"])):
            return None
        return message

    def claim_asset(self, asset_key: str) -> None:
        """Notes that an asset was reported.

        Raises:
            MessageRefused: The step does not have it, or it was reported before.
        """
        if asset_key not in self.asset_keys:
            raise MessageRefused(f"The job reported '{asset_key}', which is not in its step.")
        self._claim((asset_key,), f"'{asset_key}'")

    def claim_check(self, asset_key: str, check_name: str) -> None:
        """Notes that an asset check was reported.

        Raises:
            MessageRefused: The step does not have it, or it was reported before.
        """
        if (asset_key, check_name) not in self.check_keys:
            raise MessageRefused(
                f"The job reported the check '{check_name}' of '{asset_key}', "
                "which is not in its step."
            )
        self._claim((asset_key, check_name), f"the check '{check_name}' of '{asset_key}'")

    def unreported(self) -> list[str]:
        """Returns what the step has and the job never reported, in the words of a person."""
        assets = [key for key in self.asset_keys if (key,) not in self._seen]
        checks = [
            f"{name} of {key}" for key, name in self.check_keys if (key, name) not in self._seen
        ]
        return sorted(assets) + sorted(checks)

    def _claim(self, what: tuple[str, ...], name: str) -> None:
        if what in self._seen:
            raise MessageRefused(f"The job reported {name} twice.")
        self._seen.add(what)

    def _check(self, method: str, params: dict[str, Any]) -> None:
        # A beat comes from a thread of its own, which does not know that the others have finished.
        if self._is_closed and method != BEAT:
            raise MessageRefused("The job went on after its last message.")
        match method:
            case "opened" | "report_custom_message":
                pass
            case _ if method == BEAT:
                _check_keys(params, set())
            case "closed":
                self._is_closed = True
            case "log":
                _check_log(params)
            case "report_asset_materialization":
                _check_keys(params, {"asset_key", "data_version", "metadata"})
                self.claim_asset(_text(params, "asset_key"))
                _check_metadata(params.get("metadata"))
            case "report_asset_check":
                _check_report_of_check(params)
                self.claim_check(_text(params, "asset_key"), _text(params, "check_name"))
            case _:
                raise MessageRefused(f"The job sent a message of the unknown kind '{method[:80]}'.")


def _check_log(params: dict[str, Any]) -> None:
    _check_keys(params, {"message", "level"})
    if _text(params, "level").lower() not in LEVELS:
        raise MessageRefused("The job logged at an unknown level.")
    if len(_text(params, "message")) > LOG_CHARACTERS:
        raise MessageRefused("The job logged a message that is too long.")


def _check_report_of_check(params: dict[str, Any]) -> None:
    _check_keys(params, {"asset_key", "check_name", "passed", "severity", "metadata"})
    severity = params.get("severity")
    if not isinstance(severity, str) or severity not in SEVERITIES:
        raise MessageRefused("The job reported a check without a proper severity.")
    if not isinstance(params.get("passed"), bool):
        raise MessageRefused("The job reported a check without a proper result.")
    _check_metadata(params.get("metadata"))


def _check_keys(params: dict[str, Any], allowed: set[str]) -> None:
    if not params.keys() <= allowed:
        raise MessageRefused("The job sent a message with unknown fields.")


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or len(metadata) > METADATA_ENTRIES:
        raise MessageRefused("The job reported metadata that is not a small mapping.")
    for name, entry in metadata.items():
        is_entry = isinstance(entry, dict) and entry.keys() == {"type", "raw_value"}
        known = METADATA_TYPES.get(str(entry["type"])) if is_entry else None
        if known is None or not known(entry["raw_value"]):
            raise MessageRefused(f"The job reported '{name[:80]}' with a type it may not have.")


def _text(params: dict[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise MessageRefused(f"The job sent a message without '{name}'.")
    return value
