"""From a dbt job's messages to Dagster's events, in the run child.

A job runs what a tenant wrote, so its messages are claims: an id must be in the pinned project,
a test's severity is the manifest's, and unknown fields are refused. Nothing here imports dbt.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import ValidationError

from datanika_dagster.errors import MessageRefused
from datanika_dagster.transformations import messages
from datanika_dagster.transformations.messages import NodeResult
from datanika_manifest.run_records import DURATION_SECONDS, FAILURES, ROW_COUNT
from datanika_manifest.transformations import DbtNode, DbtProject, DbtTest, TestSeverity

_SEVERITIES = {
    TestSeverity.WARN: dg.AssetCheckSeverity.WARN,
    TestSeverity.ERROR: dg.AssetCheckSeverity.ERROR,
}


def translate(
    project: DbtProject, message: Mapping[str, Any]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Yields what a job's custom message means; nothing for failed and skipped nodes.

    Args:
        project: The pinned project of the step.
        message: `{"dbt": {…}}`, see `messages.NodeResult`.

    Raises:
        MessageRefused: The message has another form, or names what is not in the project.
    """
    result = _read(message)
    for node in project.nodes:
        if node.unique_id == result.unique_id:
            yield from _materialization(node, result)
            return
        for test in node.tests:
            if test.unique_id == result.unique_id:
                yield from _check(node, test, result)
                return
    raise MessageRefused(f"'{result.unique_id[:200]}' is not in the published dbt project.")


def _read(message: Mapping[str, Any]) -> NodeResult:
    if set(message) != {messages.KEY}:
        raise MessageRefused("The job sent a message that is not about dbt.")
    try:
        return NodeResult.model_validate(message[messages.KEY])
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise MessageRefused(f"The job sent a dbt message with wrong fields: {fields}.") from None


def _materialization(node: DbtNode, result: NodeResult) -> Iterator[dg.MaterializeResult]:
    if result.status != "success":
        return
    metadata: dict[str, Any] = {"datanika/materialization": node.materialization}
    if result.rows is not None:
        metadata[ROW_COUNT] = result.rows
    yield dg.MaterializeResult(
        asset_key=dg.AssetKey(list(node.asset_key)), metadata=metadata | _common(result)
    )


def _check(node: DbtNode, test: DbtTest, result: NodeResult) -> Iterator[dg.AssetCheckResult]:
    if result.status == "skipped":
        return
    metadata: dict[str, Any] = {"datanika/status": result.status}
    if result.failures is not None:
        metadata[FAILURES] = result.failures
    if result.message is not None:
        metadata["datanika/message"] = result.message
    # A test that could not be run has failed as an error, whatever it would have meant.
    severity = TestSeverity.ERROR if result.status == "error" else test.severity
    yield dg.AssetCheckResult(
        asset_key=dg.AssetKey(list(node.asset_key)),
        check_name=test.check_name,
        passed=result.status == "pass",
        severity=_SEVERITIES[severity],
        metadata=metadata | _common(result),
    )


def _common(result: NodeResult) -> dict[str, Any]:
    pairs = {
        DURATION_SECONDS: result.duration_seconds,
        "datanika/adapter_response": result.adapter_response,
        "datanika/started_at": result.started_at,
        "datanika/finished_at": result.finished_at,
    }
    return {name: value for name, value in pairs.items() if value is not None}
