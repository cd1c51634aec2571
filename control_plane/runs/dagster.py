"""The one adapter to Dagster: GraphQL over HTTP, with the control plane's service token.

It must not know the database. Dagster's own words stay in here: what leaves is this module's
dataclasses and the errors of `core/errors.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import httpx

from control_plane.core.errors import InvalidState, NotFound, Unavailable, Upstream
from control_plane.core.trust import public_authorities
from control_plane.runs import queries
from control_plane.runs.errors import QuotaExceeded
from datanika_manifest.names import location_name, org_of_location
from datanika_manifest.quotas import QUOTA_EXCEEDED, retry_after_seconds
from datanika_manifest.run_records import LAUNCH_TAG, ORG_TAG

# How Dagster's errors name what its driver says (psycopg2).
_DISK_FULL: Final = "DiskFull"

TIMEOUT_SECONDS = 20.0
ALL_ASSETS_JOB = "__ASSET_JOB"
REPOSITORY = "__repository__"
SCHEDULE_TAG = "dagster/schedule_name"
PARENT_TAG = "dagster/parent_run_id"
PRIORITY_TAG = "dagster/priority"
# Where the quota allows no run at all nobody knows when it will.
_ASK_AGAIN_SECONDS: Final = 3600
MAXIMUM_LOG_PAGE = 1000


class NotLoaded(InvalidState):
    """Dagster has not loaded the org's current definitions yet."""

    code = "location_not_loaded"
    is_retryable = True


class LaunchOutcomeUnknown(Unavailable):
    """Dagster was asked to launch and did not answer: the run may exist or not."""

    code = "launch_outcome_unknown"


class NothingFailed(InvalidState):
    """A run has no step that a retry from failure could begin with."""

    code = "nothing_failed"


@dataclass(frozen=True)
class DagsterStep:
    """One step of a run."""

    key: str
    status: str | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class DagsterRun:
    """A run as Dagster stores it.

    Attributes:
        org: What the run storage stamped, None for a run of nobody's.
        is_from_location: False for a run that a shell started.
        asset_keys: The selection; None where everything was selected.
    """

    id: str
    status: str
    org: str | None
    tags: dict[str, str]
    is_from_location: bool
    asset_keys: list[list[str]] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at_seconds: float
    steps: tuple[DagsterStep, ...]


@dataclass(frozen=True)
class LogEvent:
    """One event of a run's log, still with the fields of its kind."""

    kind: str
    fields: dict[str, Any]

    @property
    def at(self) -> datetime:
        """When it happened."""
        return datetime.fromtimestamp(int(self.fields["timestamp"]) / 1000, UTC)


@dataclass(frozen=True)
class LogPage:
    """A page of a run's log; `cursor` continues after it."""

    events: list[LogEvent]
    cursor: str | None
    has_more: bool


class DagsterClient:
    """Asks Dagster's GraphQL API.

    Args:
        url: Where the Dagster UI is, for example http://127.0.0.1:8701/dagster.
        service_token: The control plane's own.
    """

    def __init__(self, url: str, service_token: str) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {service_token}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            verify=public_authorities(),
        )

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def loaded_manifests(self) -> dict[str, str]:
        """Returns, by org, the SHA-256 of the manifest that Dagster has loaded.

        Raises:
            Unavailable: Dagster does not answer.
        """
        found = self.ask("locationStatusesOrError", queries.LOCATIONS)
        loaded: dict[str, str] = {}
        for entry in found.get("entries", []):
            org = org_of_location(entry["name"])
            if org is not None and entry["loadStatus"] == "LOADED":
                loaded[org] = _server_id(entry["versionKey"])
        return loaded

    def launch(
        self, org: str, asset_keys: Sequence[Sequence[str]], launch_id: int, priority: int = 0
    ) -> str:
        """Starts a run of these assets and returns its id.

        Args:
            org: Whose.
            asset_keys: What is to run.
            launch_id: By which the run is found again.
            priority: Among the org's own queued runs; the highest starts first.

        Raises:
            NotLoaded: Dagster does not know the location or one of the assets (yet).
            QuotaExceeded: The org has started as many as it may; there is no run.
            LaunchOutcomeUnknown: Dagster did not answer; `find_launched` tells later.
            Upstream: Dagster refused.
        """
        selector = {
            "jobName": ALL_ASSETS_JOB,
            "repositoryName": REPOSITORY,
            "repositoryLocationName": location_name(org),
            "assetSelection": [{"path": list(key)} for key in asset_keys],
        }
        tags = {LAUNCH_TAG: launch_id} | ({PRIORITY_TAG: priority} if priority else {})
        params = {
            "selector": selector,
            "runConfigData": "{}",
            "mode": "default",
            "executionMetadata": {
                "tags": [{"key": key, "value": str(value)} for key, value in tags.items()]
            },
        }
        answer = self._ask_for_run("launchRun", queries.LAUNCH, params)
        if answer["__typename"] == "InvalidSubsetError":
            raise NotLoaded("Dagster has not loaded the published definitions yet.")
        return _launched(answer)

    def retry(self, run_id: str, launch_id: int, *, from_failure: bool) -> str:
        """Starts a run again, as it is defined now, and returns the new run's id.

        Args:
            run_id: A run that has ended.
            launch_id: By which the new run is found again.
            from_failure: Only the steps that failed, and what comes after them.

        Raises:
            NotLoaded: Dagster does not know the location (yet).
            NothingFailed: There is no step to begin with.
            QuotaExceeded: The org has started as many as it may; there is no run.
            LaunchOutcomeUnknown: Dagster did not answer; `find_launched` tells later.
            Upstream: Dagster refused.
        """
        params = {
            "parentRunId": run_id,
            "strategy": "FROM_FAILURE" if from_failure else "ALL_STEPS",
            "extraTags": [{"key": LAUNCH_TAG, "value": str(launch_id)}],
        }
        answer = self._ask_for_run("launchRunReexecution", queries.RETRY, params)
        if answer["__typename"] == "InvalidSubsetError":
            raise NothingFailed(
                "No step of the run that is still defined failed; retry all of it instead "
                "(`from_failure`: false)."
            )
        return _launched(answer)

    def _ask_for_run(self, field: str, mutation: str, params: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.ask(field, mutation, {"params": params})
        except (Unavailable, Upstream) as error:
            # An error of Dagster's own can come after it has stored the run.
            raise LaunchOutcomeUnknown(error.detail) from None

    def runs_updated_after(
        self, updated_after_seconds: float, *, limit: int = 100
    ) -> list[DagsterRun]:
        """Returns the runs, of all orgs, that changed since a time (seconds since the epoch).

        Raises:
            Unavailable: Dagster does not answer.
        """
        found: list[DagsterRun] = []
        cursor: str | None = None
        while True:
            variables = {
                "filter": {"updatedAfter": updated_after_seconds},
                "cursor": cursor,
                "limit": limit,
            }
            results = self.ask("runsOrError", queries.RUNS, variables).get("results", [])
            found.extend(_run(result) for result in results)
            if len(results) < limit:
                return found
            cursor = results[-1]["runId"]

    def find_runs(self, run_ids: Sequence[str]) -> list[DagsterRun]:
        """Returns those of the runs that Dagster has.

        Raises:
            Unavailable: Dagster does not answer.
        """
        variables = {"filter": {"runIds": list(run_ids)}, "limit": len(run_ids)}
        results = self.ask("runsOrError", queries.RUNS, variables).get("results", [])
        return [_run(result) for result in results]

    def find_run_of(self, org: str, run_id: str) -> DagsterRun | None:
        """Returns a run of this org, None where Dagster has none or it is stamped with another.

        Raises:
            Unavailable: Dagster does not answer.
        """
        return next((run for run in self.find_runs([run_id]) if run.org == org), None)

    def find_launched(self, launch_id: int) -> DagsterRun | None:
        """Returns the run that a launch has led to, None where there is none (yet).

        Raises:
            Unavailable: Dagster does not answer.
        """
        tag = {"key": LAUNCH_TAG, "value": str(launch_id)}
        variables = {"filter": {"tags": [tag]}, "limit": 1}
        results = self.ask("runsOrError", queries.RUNS, variables).get("results", [])
        return _run(results[0]) if results else None

    def read_log(self, run_id: str, cursor: str | None, limit: int) -> LogPage:
        """Returns a page of a run's log, oldest first.

        Raises:
            NotFound: Dagster has no such run.
            Unavailable: Dagster does not answer.
        """
        variables = {"runId": run_id, "cursor": cursor, "limit": min(limit, MAXIMUM_LOG_PAGE)}
        page = self.ask("logsForRun", queries.LOG, variables)
        if page["__typename"] != "EventConnection":
            raise NotFound(f"There is no log of the run {run_id}.")
        events = [LogEvent(event["__typename"], event) for event in page["events"]]
        return LogPage(events, page["cursor"], page["hasMore"])

    def terminate(self, run_id: str) -> None:
        """Asks Dagster to end a run; the end itself shows in the run's status.

        Raises:
            InvalidState: The run has ended, or cannot be ended now.
            Unavailable: Dagster does not answer.
        """
        answer = self.ask("terminateRun", queries.TERMINATE, {"runId": run_id})
        if answer["__typename"] != "TerminateRunSuccess":
            raise InvalidState("The run cannot be cancelled: it has ended or is ending.")

    def ask(self, field: str, query: str, variables: dict[str, Any] | None = None) -> Any:
        """Asks one root field and returns its answer.

        Raises:
            Unavailable: Dagster does not answer.
            Upstream: It answers with an error.
        """
        try:
            response = self._http.post("/graphql", json={"query": query, "variables": variables})
        except httpx.HTTPError:
            raise Unavailable("Dagster does not answer; see `datanika status`.") from None
        if not response.is_success:
            why = ": its database's disk is full" if _DISK_FULL in response.text else ""
            raise Unavailable(f"Dagster answered with status {response.status_code}{why}.")
        try:
            body = cast("dict[str, Any]", response.json())
        except ValueError:
            raise Unavailable("Dagster answered with something unreadable.") from None
        if body.get("errors"):
            raise Upstream("Dagster refused a query of the control plane.")
        answer: Any = body["data"][field]
        _refuse_failure(answer)
        return answer


def _launched(answer: dict[str, Any]) -> str:
    """Returns the id of the run that Dagster says it has started."""
    kind = answer["__typename"]
    if kind == "LaunchRunSuccess":
        return cast("str", answer["run"]["runId"])
    if kind == "PipelineNotFoundError":
        raise NotLoaded("Dagster has not loaded the published definitions yet.")
    raise Upstream(f"Dagster refused to launch the run ({kind}).")


def _refuse_failure(answer: Any) -> None:
    said = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    if said.get("__typename") != "PythonError":
        return
    if said.get("className") == QUOTA_EXCEEDED:
        raise _quota_exceeded(str(said["message"]))
    raise Upstream("Dagster failed to answer; its log has the reason.")


def _quota_exceeded(message: str) -> QuotaExceeded:
    """Returns the error that a message of Dagster's is about: `module.Class: reason`."""
    reason = message.partition(f"{QUOTA_EXCEEDED}: ")[2].strip()
    seconds = retry_after_seconds(reason) or _ASK_AGAIN_SECONDS
    return QuotaExceeded(reason, retry_after_seconds=seconds)


def _server_id(version_key: str) -> str:
    """Reads the manifest's hash, with which code servers start, from Dagster's version key."""
    try:
        parts = json.loads(version_key)
    except ValueError:
        return version_key
    return str(cast("list[Any]", parts)[0]) if isinstance(parts, list) and parts else version_key


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _run(result: dict[str, Any]) -> DagsterRun:
    tags: dict[str, str] = {tag["key"]: tag["value"] for tag in result["tags"]}
    selection: list[dict[str, list[str]]] | None = result["assetSelection"]
    steps: list[dict[str, Any]] = result["stepStats"] or []
    return DagsterRun(
        id=result["runId"],
        status=result["status"],
        org=tags.get(ORG_TAG),
        tags=tags,
        is_from_location=result["repositoryOrigin"] is not None,
        asset_keys=None if selection is None else [key["path"] for key in selection],
        created_at=datetime.fromtimestamp(result["creationTime"], UTC),
        started_at=_time(result["startTime"]),
        ended_at=_time(result["endTime"]),
        updated_at_seconds=result["updateTime"] or result["creationTime"],
        steps=tuple(
            DagsterStep(
                step["stepKey"], step["status"], _time(step["startTime"]), _time(step["endTime"])
            )
            for step in steps
        ),
    )
