"""A valid call of each of Dagster's root fields about one org's things: the one table of the fuzz.

The selection of fields is made from the schema, as deep as the answer may say something.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dagster._core.remote_representation.handle import CompoundID

from tests.datanika_dagster.gateway.scoped.world import EVALUATION_ID, Org

Arguments = Callable[[Org], dict[str, Any]]

PARTITION = "2026-01-01"


def repository(org: Org) -> dict[str, str]:
    return {"repositoryName": "__repository__", "repositoryLocationName": org.location}


def asset(org: Org) -> dict[str, Any]:
    """An asset that the org's definitions have: its table is called like its canary."""
    return {"path": [org.slug, "warehouse", "raw", org.canary]}


def all_assets(org: Org) -> dict[str, Any]:
    return repository(org) | {"pipelineName": "__ASSET_JOB"}


def job(org: Org) -> dict[str, Any]:
    return repository(org) | {"jobName": "__ASSET_JOB"}


def schedule(org: Org) -> dict[str, Any]:
    return repository(org) | {"scheduleName": "schedule_3"}


def sensor(org: Org) -> dict[str, Any]:
    return repository(org) | {"sensorName": "sensor"}


def execution(org: Org) -> dict[str, Any]:
    return {
        "selector": job(org) | {"assetSelection": [asset(org)]},
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": "team", "value": org.canary}]},
    }


def child(org: Org) -> dict[str, Any]:
    return execution(org) | {
        "executionMetadata": {"parentRunId": org.run.run_id, "rootRunId": org.run.run_id}
    }


def state_id(org: Org) -> str:
    state = org.state
    return CompoundID(
        remote_origin_id=state.instigator_origin_id, selector_id=state.selector_id
    ).to_string()


def repository_id(org: Org) -> str:
    state = org.state
    return CompoundID(
        remote_origin_id=state.repository_origin_id, selector_id=state.repository_selector_id
    ).to_string()


def nothing(_: Org) -> dict[str, Any]:
    return {}


def _filter(org: Org) -> dict[str, Any]:
    return {"filter": {"runIds": [org.run.run_id]}, "limit": 10}


def _evaluated(org: Org) -> dict[str, Any]:
    return {"assetKey": {"path": list(org.key.path)}, "limit": 5}


def _condition(org: Org) -> dict[str, Any]:
    return {"assetKey": {"path": list(org.key.path)}, "evaluationId": str(EVALUATION_ID)}


QUERIES: Mapping[str, Arguments] = {
    "allTopLevelResourceDetailsOrError": lambda o: {"repositorySelector": repository(o)},
    "appManagedComponentsForLocationOrError": lambda o: {"locationName": o.location},
    "assetBackfillPreview": lambda o: {
        "params": {
            "partitionNames": [PARTITION],
            "assetSelection": [asset(o)],
        }
    },
    "assetCheckExecutions": lambda o: {
        "assetKey": {"path": list(o.key.path)}, "checkName": o.canary, "limit": 5,
    },
    "assetConditionEvaluationForPartition": lambda o: _condition(o) | {"partition": PARTITION},
    "assetConditionEvaluationRecordsOrError": _evaluated,
    "assetConditionEvaluationsForEvaluationId": lambda _: {"evaluationId": str(EVALUATION_ID)},
    "assetNodeAdditionalRequiredKeys": lambda o: {"assetKeys": [asset(o)]},
    "assetNodeDefinitionCollisions": lambda o: {"assetKeys": [asset(o)]},
    "assetNodeOrError": lambda o: {"assetKey": asset(o)},
    "assetNodes": lambda o: {"assetKeys": [asset(o)]},
    "assetOrError": lambda o: {"assetKey": {"path": list(o.key.path)}},
    "assetRecordsOrError": lambda o: {"prefix": [o.slug]},
    "assetsLatestInfo": lambda o: {"assetKeys": [{"path": list(o.key.path)}]},
    "assetsOrError": lambda o: {"prefix": [o.slug]},
    "autoMaterializeAssetEvaluationsOrError": _evaluated,
    "autoMaterializeEvaluationsForEvaluationId": lambda _: {"evaluationId": str(EVALUATION_ID)},
    "autoMaterializeTicks": nothing,
    "canBulkTerminate": nothing,
    "capturedLogs": lambda o: {"logKey": o.log_keys[0]},
    "capturedLogsMetadata": lambda o: {"logKey": o.log_keys[0]},
    "componentTypesForLocationOrError": lambda o: {"locationName": o.location},
    "componentsForLocationOrError": lambda o: {"locationName": o.location},
    "executionPlanOrError": lambda o: {
        "pipeline": all_assets(o) | {"assetSelection": [asset(o)]},
        "mode": "default",
    },
    "graphOrError": lambda o: {"selector": repository(o) | {"graphName": "__ASSET_JOB"}},
    "instance": nothing,
    "instigationStateOrError": lambda o: {
        "instigationSelector": repository(o) | {"name": o.schedule},
        "id": state_id(o),
    },
    "instigationStatesOrError": lambda o: {"repositoryID": repository_id(o)},
    "isPipelineConfigValid": lambda o: {"pipeline": all_assets(o), "mode": "default"},
    "latestDefsStateInfo": nothing,
    "locationStatusesOrError": nothing,
    "logsForRun": lambda o: {"runId": o.run.run_id},
    "partitionBackfillOrError": lambda o: {"backfillId": o.backfill.backfill_id},
    "partitionBackfillsOrError": nothing,
    "partitionSetOrError": lambda o: {
        "repositorySelector": repository(o),
        "partitionSetName": "__ASSET_JOB_partition_set",
    },
    "partitionSetsOrError": lambda o: {
        "repositorySelector": repository(o),
        "pipelineName": "__ASSET_JOB",
    },
    "permissions": nothing,
    "pipelineOrError": lambda o: {"params": all_assets(o)},
    "pipelineRunOrError": lambda o: {"runId": o.run.run_id},
    "pipelineRunsOrError": _filter,
    "pipelineSnapshotOrError": lambda o: {"snapshotId": o.run.job_snapshot_id},
    "repositoriesOrError": nothing,
    "repositoryOrError": lambda o: {"repositorySelector": repository(o)},
    "resourcesOrError": lambda o: {"pipelineSelector": all_assets(o)},
    "runConfigSchemaOrError": lambda o: {"selector": all_assets(o), "mode": "default"},
    "runGroupOrError": lambda o: {"runId": o.run.run_id},
    "runIdsOrError": _filter,
    "runOrError": lambda o: {"runId": o.run.run_id},
    "runTagKeysOrError": nothing,
    "runTagsOrError": lambda _: {"tagKeys": ["mine"]},
    "runsFeedCountOrError": lambda o: {
        "view": "RUNS", "filter": {"runIds": [o.run.run_id]},
    },
    "runsFeedOrError": lambda o: {
        "view": "RUNS", "limit": 10, "filter": {"runIds": [o.run.run_id]},
    },
    "runsOrError": _filter,
    "scheduleOrError": lambda o: {"scheduleSelector": schedule(o)},
    "scheduler": nothing,
    "schedulesOrError": lambda o: {"repositorySelector": repository(o)},
    "sensorOrError": lambda o: {"sensorSelector": sensor(o)},
    "sensorsOrError": lambda o: {"repositorySelector": repository(o)},
    "shouldShowNux": nothing,
    "test": nothing,
    "topLevelResourceDetailsOrError": lambda o: {
        "resourceSelector": repository(o) | {"resourceName": "resource"}
    },
    "truePartitionsForAutomationConditionEvaluationNode": lambda o: _condition(o)
    | {"nodeUniqueId": "x"},
    "utilizedEnvVarsOrError": lambda o: {"repositorySelector": repository(o)},
    "version": nothing,
    "workspaceLocationEntryOrError": lambda o: {"name": o.location},
    "workspaceOrError": nothing,
}  # fmt: skip

MUTATIONS: Mapping[str, Arguments] = {
    "addDynamicPartition": lambda o: {
        "partitionKey": "new",
        "partitionsDefName": o.partitions,
        "repositorySelector": repository(o),
    },
    "cancelPartitionBackfill": lambda o: {"backfillId": o.backfill.backfill_id},
    "deleteDynamicPartitions": lambda o: {
        "partitionKeys": [o.canary],
        "partitionsDefName": o.partitions,
        "repositorySelector": repository(o),
    },
    "deletePipelineRun": lambda o: {"runId": o.child.run_id},
    "deleteRun": lambda o: {"runId": o.child.run_id},
    "launchMultipleRuns": lambda o: {"executionParamsList": [execution(o)]},
    "launchPartitionBackfill": lambda o: {
        "backfillParams": {"assetSelection": [asset(o)], "allPartitions": True}
    },
    "launchPipelineExecution": lambda o: {"executionParams": execution(o)},
    "launchPipelineReexecution": lambda o: {"executionParams": child(o)},
    "launchRun": lambda o: {"executionParams": execution(o)},
    "launchRunReexecution": lambda o: {
        "reexecutionParams": {"parentRunId": o.run.run_id, "strategy": "ALL_STEPS"}
    },
    "reexecutePartitionBackfill": lambda o: {
        "reexecutionParams": {"parentRunId": o.backfill.backfill_id, "strategy": "ALL_STEPS"}
    },
    "reloadRepositoryLocation": lambda o: {"repositoryLocationName": o.location},
    "reportAssetCheckEvaluations": lambda o: {
        "eventParams": {
            "assetKey": asset(o),
            "checkName": "check",
            "passed": True,
        }
    },
    "reportRunlessAssetEvents": lambda o: {
        "eventParams": {"eventType": "ASSET_MATERIALIZATION", "assetKey": asset(o)}
    },
    "resetSchedule": lambda o: {"scheduleSelector": schedule(o)},
    "resetSensor": lambda o: {"sensorSelector": sensor(o)},
    "resumePartitionBackfill": lambda o: {"backfillId": o.backfill.backfill_id},
    "scheduleDryRun": lambda o: {"selectorData": schedule(o), "timestamp": 1_790_000_000.0},
    "sensorDryRun": lambda o: {"selectorData": sensor(o)},
    "setSensorCursor": lambda o: {"sensorSelector": sensor(o), "cursor": "x"},
    "startSchedule": lambda o: {"scheduleSelector": schedule(o)},
    "startSensor": lambda o: {"sensorSelector": sensor(o)},
    "stopRunningSchedule": lambda o: {
        "id": state_id(o)
    },
    "stopSensor": lambda o: {"id": state_id(o)},
    "terminatePipelineExecution": lambda o: {"runId": o.run.run_id},
    "terminateRun": lambda o: {"runId": o.run.run_id},
    "terminateRuns": lambda o: {"runIds": [o.run.run_id]},
    "wipeAssets": lambda o: {"assetPartitionRanges": [{"assetKey": asset(o)}]},
    # Nobody's in an org
    "deleteAppManagedComponent": lambda o: {"locationName": o.location, "componentId": "x"},
    "deleteConcurrencyLimit": lambda o: {"concurrencyKey": o.pool},
    "freeConcurrencySlots": lambda o: {"runId": o.run.run_id},
    "freeConcurrencySlotsForRun": lambda o: {"runId": o.run.run_id},
    "logTelemetry": lambda _: {
        "action": "x", "clientId": "x", "clientTime": "1", "metadata": "{}",
    },
    "refreshComponentState": lambda o: {"locationName": o.location, "defsStateKey": "x"},
    "reloadWorkspace": nothing,
    "setAppManagedComponent": lambda o: {
        "locationName": o.location, "componentId": "x", "componentType": "x", "attributes": "{}",
    },
    "setAutoMaterializePaused": lambda _: {"paused": True},
    "setConcurrencyLimit": lambda o: {"concurrencyKey": o.pool, "limit": 5},
    "setNuxSeen": nothing,
    "shutdownRepositoryLocation": lambda o: {"repositoryLocationName": o.location},
}  # fmt: skip
