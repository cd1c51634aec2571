"""Listens to dbt's events while a build runs and tells the run what ended, and how.

Only dbt's own structured event for a finished node counts. What a model prints or logs never
looks like one, whatever its text is.
"""

import threading
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from pydantic import JsonValue

from datanika_dagster.launcher.job import Job, LogLevel
from datanika_dagster.transformations import messages
from datanika_dagster.transformations.dbt_process import Outcome, clean_message
from datanika_dagster.transformations.errors import BuildFailedError, is_lost_connection
from datanika_dagster.transformations.messages import NodeResult
from datanika_dagster.transformations.row_counts import RowCounter
from datanika_manifest.transformations import DbtProject

_STATUSES = {
    "success": "success",
    "error": "error",
    "skipped": "skipped",
    "pass": "pass",
    "warn": "warn",
    "fail": "fail",
    "runtime error": "error",
    "partial success": "error",
}
_LEVELS: dict[str, LogLevel] = {
    "error": "error",
    "fail": "error",
    "warn": "warning",
    "skipped": "warning",
}
# What a model says itself, with log(), print() and exceptions.warn(): lines for people.
_SPOKEN: dict[str, LogLevel] = {
    "JinjaLogInfo": "info",
    "JinjaLogWarning": "warning",
    "PrintEvent": "info",
}
_MESSAGE_LENGTH = 2000


class DbtJob(Job, Protocol):
    """A job whose channel also takes messages of its own kind."""

    def custom(self, payload: Mapping[str, Any]) -> None:
        """Sends a message that the step translates."""
        ...


class Reporter:
    """Turns dbt's events of one build into messages and log lines.

    Args:
        job: The channel.
        project: The parsed project that is built.
        counter: Counts the rows of views.
    """

    def __init__(self, job: DbtJob, project: DbtProject, counter: RowCounter) -> None:
        self._job = job
        self._counter = counter
        self._lock = threading.Lock()
        self._results: dict[str, NodeResult] = {}
        self._nodes = {node.unique_id: node for node in project.nodes}
        self._names = {node.unique_id: f"model {node.name}" for node in project.nodes}
        for node in project.nodes:
            for test in node.tests:
                self._names[test.unique_id] = f"test {test.check_name} of {node.name}"

    def on_event(self, event: Any) -> None:
        """Takes one of dbt's events; called from dbt's worker threads."""
        if event.info.name in _SPOKEN:
            with self._lock:
                self._job.log(_SPOKEN[event.info.name], event.info.msg[:_MESSAGE_LENGTH])
        if event.info.name != "NodeFinished" or not hasattr(event.data, "run_result"):
            return
        unique_id = event.data.node_info.unique_id
        if unique_id not in self._names:
            return  # an ephemeral model: nothing was stored
        # Outside the lock: other nodes go on while a view is counted.
        result = self._reduce(unique_id, event.data)
        with self._lock:
            self._results[unique_id] = result
            self._job.custom({messages.KEY: result.model_dump(mode="json", exclude_none=True)})
            self._job.log(_LEVELS.get(result.status, "info"), self._line(result))

    def finish(self, outcome: Outcome, selected: Collection[str]) -> JsonValue:
        """Returns what was done, after dbt has ended.

        Args:
            outcome: What dbt ended with.
            selected: The ids that had to run.

        Raises:
            BuildFailedError: Something failed, or something selected never ran.
        """
        if outcome.error is not None:
            message = f"dbt stopped: {outcome.error}"
            raise BuildFailedError(message, is_retryable=is_lost_connection(message))
        failed = [r for r in self._results.values() if r.status in ("error", "fail")]
        if failed:
            first = next((self._nodes.get(r.unique_id) for r in failed), None)
            text = "\n".join(self._line(result) for result in failed)
            is_retryable = all(is_lost_connection(result.message or "") for result in failed)
            raise BuildFailedError(
                text, field=first.name if first else None, is_retryable=is_retryable
            )
        missing = [name for name in selected if name not in self._results]
        if missing or not outcome.is_success:
            names = ", ".join(self._names[name] for name in missing)
            raise BuildFailedError(f"dbt did not run: {names or 'everything that was selected'}.")
        nodes = sum(name in self._nodes for name in self._results)
        return {"nodes": nodes, "tests": len(self._results) - nodes}

    def _reduce(self, unique_id: str, data: Any) -> NodeResult:
        result, info = data.run_result, data.node_info
        status = _STATUSES.get(result.status, "error")
        is_test = unique_id not in self._nodes
        response = result.adapter_response
        message = clean_message(result.message)[:_MESSAGE_LENGTH] or None
        return NodeResult(
            unique_id=unique_id,
            status=status,  # pyright: ignore[reportArgumentType] - one of _STATUSES
            started_at=_utc(info.node_started_at),
            finished_at=_utc(info.node_finished_at),
            duration_seconds=round(result.execution_time, 3),
            rows=None if is_test or status != "success" else self._rows(unique_id, response),
            failures=result.num_failures if is_test and status != "error" else None,
            message=message if status in ("error", "fail", "warn") else None,
            adapter_response=None if is_test else _text(response, "_message"),
        )

    def _rows(self, unique_id: str, response: Any) -> int | None:
        node = self._nodes[unique_id]
        if node.materialization == "view":
            return self._counter.count(node)
        rows = int(response["rows_affected"]) if "rows_affected" in response else -1
        return rows if rows >= 0 else None

    def _line(self, result: NodeResult) -> str:
        name = self._names[result.unique_id]
        match result.status:
            case "skipped":
                return f"{name}: skipped, because something it needs failed"
            case "error":
                return f"{name} failed: {result.message}"
            case "fail" | "warn":
                return f"{name} found {result.failures} failing rows ({result.status})"
            case "pass":
                return f"{name} passed in {result.duration_seconds} s"
            case "success":
                rows = "" if result.rows is None else f", {result.rows} rows"
                return f"{name} built in {result.duration_seconds} s{rows}"


def _utc(text: str) -> str | None:
    # dbt gives naive UTC: https://docs.getdbt.com/reference/events-logging
    return f"{text}+00:00" if text else None


def _text(response: Any, key: str) -> str | None:
    return str(response[key])[:200] if key in response else None
