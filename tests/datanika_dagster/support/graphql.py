"""The GraphQL that launches and ends runs, answered in this process by Dagster's own schema."""

import asyncio
from typing import Any

from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_graphql.schema import create_schema

from datanika_manifest.names import location_name

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
  }
}
"""
TERMINATE = """
mutation ($runId: String!) {
  terminateRun(runId: $runId) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""


def execute(context: WorkspaceProcessContext, query: str, variables: dict[str, Any]) -> Any:
    request = context.create_request_context()
    result = asyncio.run(create_schema().execute_async(query, variables=variables, context=request))
    assert not result.errors, result.errors
    return result.data


def queue_run(context: WorkspaceProcessContext, org: str, *assets: tuple[str, ...]) -> str:
    """Queues a run of assets and returns its id."""
    selector = {
        "jobName": "__ASSET_JOB",
        "repositoryName": "__repository__",
        "repositoryLocationName": location_name(org),
        "assetSelection": [{"path": list(path)} for path in assets],
    }
    params = {"selector": selector, "runConfigData": {}, "mode": "default"}
    answer = execute(context, LAUNCH, {"params": params})["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def terminate(context: WorkspaceProcessContext, run_id: str) -> str:
    return execute(context, TERMINATE, {"runId": run_id})["terminateRun"]["__typename"]
