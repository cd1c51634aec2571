"""Reads what a run did from its event log: assets, checks, the reason of a failure."""

from collections.abc import Iterable
from typing import Any

from control_plane.runs.dagster import LogEvent
from control_plane.runs.schemas import RunAsset, RunCheck, RunLogLine
from datanika_manifest.names import join
from datanika_manifest.run_records import (
    BACKEND,
    DBT_STEP,
    DURATION_SECONDS,
    FAILURES,
    NOT_STARTED_YET,
    ROW_COUNT,
    WAITS_FOR_UNLOCK,
)

# What Dagster writes about its own machinery; of no use to somebody who reads a run's log.
_ENGINE_NOISE = frozenset(
    {
        "EngineEvent",
        "ResourceInitStartedEvent",
        "ResourceInitSuccessEvent",
        "StepWorkerStartingEvent",
        "StepWorkerStartedEvent",
        "LogsCapturedEvent",
        "ExecutionStepInputEvent",
        "ExecutionStepOutputEvent",
        "HandledOutputEvent",
        "LoadedInputEvent",
        "AssetMaterializationPlannedEvent",
        "AssetCheckEvaluationPlannedEvent",
    }
)
# What a run's assets and checks are read from.
VIEWED_KINDS = frozenset({"MaterializationEvent", "AssetCheckEvaluationEvent"})


def assets_of(events: Iterable[LogEvent]) -> list[RunAsset]:
    """Returns the assets that were materialized, in order, each once with its last figures."""
    found: dict[tuple[str, ...], RunAsset] = {}
    for event in events:
        if event.kind != "MaterializationEvent":
            continue
        key = event.fields["assetKey"]["path"]
        metadata = _metadata(event.fields["metadataEntries"])
        found[tuple(key)] = RunAsset(
            asset_key=key,
            kind="model"
            if (event.fields["stepKey"] or "").startswith(join(DBT_STEP, ""))
            else "table",
            name=key[-1],
            rows=metadata.get(ROW_COUNT),
            duration_seconds=metadata.get(DURATION_SECONDS),
            backend=metadata.get(BACKEND),
        )
    return list(found.values())


def checks_of(events: Iterable[LogEvent]) -> list[RunCheck]:
    """Returns the checks that were evaluated, in order."""
    checks: list[RunCheck] = []
    for event in events:
        if event.kind != "AssetCheckEvaluationEvent":
            continue
        evaluation = event.fields["evaluation"]
        severity = "warn" if evaluation["severity"] == "WARN" else "error"
        failed = "warn" if severity == "warn" else "fail"
        checks.append(
            RunCheck(
                asset_key=evaluation["assetKey"]["path"],
                name=evaluation["checkName"],
                passed=evaluation["success"],
                severity=severity,
                status="pass" if evaluation["success"] else failed,
                failures=_metadata(evaluation["metadataEntries"]).get(FAILURES),
            )
        )
    return checks


def failure_of(events: Iterable[LogEvent]) -> str | None:
    """Returns why a run failed: its first failing step's own words, else the run's."""
    of_run: str | None = None
    for event in events:
        if event.kind == "ExecutionStepFailureEvent":
            return _storable(_message(event))
        if event.kind == "RunFailureEvent":
            of_run = _storable(event.fields["message"])
    return of_run


def _storable(text: str) -> str:
    """Returns the text without what PostgreSQL cannot store: NUL and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def log_lines(events: Iterable[LogEvent]) -> list[RunLogLine]:
    """Returns what a person wants to read of the log."""
    return [
        RunLogLine(
            timestamp=event.at,
            level=event.fields["level"].lower(),
            step=event.fields["stepKey"],
            message=_message(event),
        )
        for event in events
        if "timestamp" in event.fields and not _is_noise(event)
    ]


def _is_noise(event: LogEvent) -> bool:
    told = (WAITS_FOR_UNLOCK, NOT_STARTED_YET)
    return event.kind in _ENGINE_NOISE and not event.fields["message"].startswith(told)


def _message(event: LogEvent) -> str:
    metadata: dict[str, Any] = event.fields.get("failureMetadata") or {}
    return metadata.get("description") or event.fields["message"]


def _metadata(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in entries:
        for name in ("intValue", "floatValue", "text"):
            if entry.get(name) is not None:
                values[entry["label"]] = entry[name]
    return values
