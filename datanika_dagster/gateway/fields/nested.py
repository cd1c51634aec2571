"""What objects say to somebody in an org instead of what they know of the deployment.

`Instance` has a row for each of its fields, since its root field lets all of them through.
"""

from collections.abc import Mapping
from typing import Any, Final

INSTEAD: Final[Mapping[str, Any]] = {
    # The configuration of the deployment, and paths of the machine.
    "Instance.executablePath": "",
    "Instance.hasInfo": False,
    "Instance.info": None,
    "RunQueueConfig.tagConcurrencyLimitsYaml": None,
    # What went wrong in a daemon may be about another org.
    "DaemonStatus.lastHeartbeatErrors": (),
    # Where output is on the machine; the UI takes the URL.
    "CapturedLogsMetadata.stderrLocation": None,
    "CapturedLogsMetadata.stdoutLocation": None,
    # The code server's socket.
    "Repository.displayMetadata": (),
    "RepositoryOrigin.repositoryLocationMetadata": (),
    "WorkspaceLocationEntry.displayMetadata": (),
}
"""Answers in place of a field's own, by `Type.field`."""

INSTANCE_FIELDS: Final = frozenset(
    {
        "autoMaterializePaused",
        "concurrencyLimit",
        "concurrencyLimits",
        "daemonHealth",
        "executablePath",
        "freshnessEvaluationEnabled",
        "hasInfo",
        "id",
        "info",
        "maxConcurrencyLimitValue",
        "minConcurrencyLimitValue",
        "poolConfig",
        "runLauncher",
        "runQueueConfig",
        "runQueuingSupported",
        "supportsConcurrencyLimits",
        "useAutoMaterializeSensors",
    }
)
"""The fields of `Instance`; those that `INSTEAD` does not answer are safe through the org's instance."""
