"""The GraphQL documents that the control plane sends to Dagster (1.13)."""

LOCATIONS = """
query Locations {
  locationStatusesOrError {
    __typename
    ... on WorkspaceLocationStatusEntries { entries { name loadStatus versionKey } }
    ... on PythonError { message }
  }
}
"""

_STARTED = """    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on InvalidSubsetError { message }
    ... on PipelineNotFoundError { message }
    ... on RunConflict { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message className }
    ... on RunConfigValidationInvalid { errors { message } }
"""

LAUNCH = (
    """
mutation LaunchRun($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
"""
    + _STARTED
    + """  }
}
"""
)

RETRY = (
    """
mutation RetryRun($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
"""
    + _STARTED
    + """  }
}
"""
)

RUNS = """
query Runs($filter: RunsFilter, $cursor: String, $limit: Int) {
  runsOrError(filter: $filter, cursor: $cursor, limit: $limit) {
    __typename
    ... on Runs {
      results {
        runId status creationTime startTime endTime updateTime
        tags { key value }
        assetSelection { path }
        repositoryOrigin { repositoryLocationName }
        stepStats { stepKey status startTime endTime }
      }
    }
    ... on PythonError { message }
    ... on InvalidPipelineRunsFilterError { message }
  }
}
"""

LOG = """
query RunLog($runId: ID!, $cursor: String, $limit: Int) {
  logsForRun(runId: $runId, afterCursor: $cursor, limit: $limit) {
    __typename
    ... on RunNotFoundError { message }
    ... on PythonError { message }
    ... on EventConnection {
      cursor
      hasMore
      events {
        __typename
        ... on MessageEvent { timestamp level stepKey eventType message }
        ... on ExecutionStepFailureEvent { failureMetadata { description } }
        ... on MaterializationEvent {
          assetKey { path }
          metadataEntries {
            label
            ... on IntMetadataEntry { intValue }
            ... on FloatMetadataEntry { floatValue }
            ... on TextMetadataEntry { text }
          }
        }
        ... on AssetCheckEvaluationEvent {
          evaluation {
            assetKey { path }
            checkName
            success
            severity
            metadataEntries { label ... on IntMetadataEntry { intValue } }
          }
        }
      }
    }
  }
}
"""

FRESHNESS = """
query Freshness($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    freshnessStatusInfo {
      freshnessStatus
      freshnessStatusMetadata { lastMaterializedTimestamp }
    }
  }
}
"""

SCHEDULES = """
query Schedules($selector: RepositorySelector!) {
  schedulesOrError(repositorySelector: $selector) {
    __typename
    ... on Schedules { results { name scheduleState { id status } } }
    ... on PythonError { message }
  }
}
"""

START_SCHEDULE = """
mutation Start($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    __typename
    ... on PythonError { message }
  }
}
"""

STOP_SCHEDULE = """
mutation Stop($id: String!) {
  stopRunningSchedule(id: $id) {
    __typename
    ... on PythonError { message }
  }
}
"""

TERMINATE = """
mutation Terminate($runId: String!) {
  terminateRun(runId: $runId, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on TerminateRunFailure { message }
    ... on RunNotFoundError { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""
