"""Whose a run is comes from where its code is, whatever the caller says."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from dagster import DagsterEvent, DagsterRun, DagsterRunStatus
from dagster import DagsterEventType as Kind
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.dagster_run import RunsFilter
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.utils import make_new_run_id
from sqlalchemy import text

from datanika_dagster import run_progress
from datanika_dagster.errors import RunRefused
from datanika_dagster.storage import StampingRunStorage
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import LAUNCH_TAG, MANIFEST_TAG, ORG_TAG
from tests.datanika_dagster.support.waiting import wait_for


def run_of(location, **fields):
    origin = None
    if location:
        code = GrpcServerCodeLocationOrigin(
            host="localhost", socket="/tmp/none.sock", location_name=location
        )
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(code, "__repository__"), "__ASSET_JOB")
    return DagsterRun(
        job_name="__ASSET_JOB",
        run_id=make_new_run_id(),
        status=DagsterRunStatus.NOT_STARTED,
        remote_job_origin=origin,
        **fields,
    )


def tags_of(storage, run):
    (stored,) = storage.get_runs(RunsFilter(run_ids=[run.run_id]))
    return stored.tags


@pytest.fixture
def storage(instance):
    assert isinstance(instance.run_storage, StampingRunStorage)
    return instance.run_storage


class TestStamp:
    def test_is_the_org_of_the_code_location(self, storage):
        run = storage.add_run(run_of("org_acme"))
        assert tags_of(storage, run)[ORG_TAG] == "acme"

    def test_does_not_come_from_the_caller(self, storage):
        spoofed = {ORG_TAG: "globex", WORKER_TAG: "{}", MANIFEST_TAG: "0", "mine": "kept"}
        run = storage.add_run(run_of("org_acme", tags=spoofed))
        tags = tags_of(storage, run)
        assert tags[ORG_TAG] == "acme"
        assert tags["mine"] == "kept"
        assert not {WORKER_TAG, MANIFEST_TAG} & tags.keys()

    @pytest.mark.parametrize(
        "tag",
        ["dagster-k8s/config", "dagster-docker/x", "docker/container_id", "ecs/task_overrides"],
    )
    def test_who_launches_sets_nothing_of_a_container(self, storage, tag):
        run = run_of("org_acme", tags={tag: '{"container_config": {"image": "evil"}}', "a": "b"})
        tags = tags_of(storage, storage.add_run(run))
        assert tag not in tags
        assert tags["a"] == "b"

    @pytest.mark.parametrize(
        ("name", "wished", "kept"),
        [
            ("dagster/priority", "1000000", "10"),
            ("dagster/priority", "-3", "-3"),
            ("dagster/priority", "-99", "-10"),
            ("dagster/priority", "first", None),
            ("dagster/max_retries", "1000000", "3"),
            ("dagster/max_retries", "0", "0"),
            ("dagster/max_retries", "-1", "0"),
            ("dagster/max_retries", "9" * 5000, None),
        ],
    )
    def test_wishes_have_bounds(self, storage, name, wished, kept):
        run = storage.add_run(run_of("org_acme", tags={name: wished}))
        assert tags_of(storage, run).get(name) == kept

    @pytest.mark.parametrize(
        "name",
        [
            "dagster/root_run_id",
            "dagster/parent_run_id",
            "dagster/retry_number",
            "dagster/auto_retry_run_id",
            "dagster/will_retry",
            "dagster/retry_on_asset_or_op_failure",
            "dagster/failure_reason",
            "dagster/backfill",
            "dagster/parent_backfill_id",
            "dagster/root_backfill_id",
            "dagster/image",
            ".dagster/grpc_info",
            ".dagster/run_worker",
        ],
    )
    def test_lineage_and_facts_are_not_the_callers(self, storage, name):
        foreign = storage.add_run(run_of("org_globex"))
        run = storage.add_run(run_of("org_acme", tags={name: foreign.run_id}))
        assert name not in tags_of(storage, run)

    def test_lineage_is_what_the_run_was_made_from(self, storage):
        foreign = storage.add_run(run_of("org_globex"))
        root = storage.add_run(run_of("org_acme"))
        spoofed = {
            "dagster/retry_on_asset_or_op_failure": "true",
            "dagster/root_run_id": foreign.run_id,
            "dagster/parent_run_id": foreign.run_id,
            "dagster/retry_number": "1",
        }
        lineage = {"parent_run_id": root.run_id, "root_run_id": root.run_id}
        tags = tags_of(storage, storage.add_run(run_of("org_acme", tags=spoofed, **lineage)))
        assert tags["dagster/root_run_id"] == tags["dagster/parent_run_id"] == root.run_id
        assert tags["dagster/retry_number"] == "1"
        assert "dagster/retry_on_asset_or_op_failure" not in tags

    def test_cannot_be_changed_later(self, storage):
        run = storage.add_run(run_of("org_acme"))
        storage.add_run_tags(run.run_id, {ORG_TAG: "globex", "more": "yes"})
        tags = tags_of(storage, run)
        assert (tags[ORG_TAG], tags["more"]) == ("acme", "yes")

    @pytest.mark.parametrize("location", ["acme", "org_", "org_a__b", "datanika_dagster"])
    def test_a_location_of_nobodys_gives_none(self, storage, location):
        run = storage.add_run(run_of(location, tags={ORG_TAG: "acme"}))
        assert ORG_TAG not in tags_of(storage, run)

    def test_a_run_from_a_shell_belongs_to_the_shells_org(self, storage, monkeypatch):
        monkeypatch.setenv("DATANIKA_ORG", "acme")
        run = storage.add_run(run_of(None))
        assert tags_of(storage, run)[ORG_TAG] == "acme"

    def test_a_run_without_origin_in_a_shared_process_belongs_to_nobody(self, storage):
        run = storage.add_run(run_of(None, tags={ORG_TAG: "acme"}))
        assert ORG_TAG not in tags_of(storage, run)


class TestLineage:
    def test_an_own_parent_is_fine(self, storage):
        parent = storage.add_run(run_of("org_acme"))
        child = run_of("org_acme", parent_run_id=parent.run_id, root_run_id=parent.run_id)
        assert storage.add_run(child)

    def test_a_child_is_not_what_its_parents_launch_made(self, storage):
        tags = {LAUNCH_TAG: "4711", "mine": "kept"}
        parent = storage.add_run(run_of("org_acme", tags=tags))
        lineage = {"parent_run_id": parent.run_id, "root_run_id": parent.run_id}
        child = storage.add_run(run_of("org_acme", tags=tags, **lineage))
        assert tags_of(storage, parent)[LAUNCH_TAG] == "4711"
        assert LAUNCH_TAG not in tags_of(storage, child)
        assert tags_of(storage, child)["mine"] == "kept"

    @pytest.mark.parametrize("field", ["parent_run_id", "root_run_id"])
    @pytest.mark.parametrize("location", ["org_globex", "org_acm", "elsewhere"])
    def test_another_orgs_is_refused(self, storage, field, location):
        foreign = storage.add_run(run_of("org_acme"))
        both = {"parent_run_id": foreign.run_id, "root_run_id": foreign.run_id}
        if field == "root_run_id" and location == "org_globex":
            own = storage.add_run(run_of(location))
            both["parent_run_id"] = own.run_id
        child = run_of(location, **both)
        with pytest.raises(RunRefused):
            storage.add_run(child)
        assert not storage.has_run(child.run_id)

    def test_one_that_does_not_exist_is_refused(self, storage):
        missing = make_new_run_id()
        with pytest.raises(RunRefused):
            storage.add_run(run_of("org_acme", parent_run_id=missing, root_run_id=missing))


def test_runs_cannot_be_imported(storage):
    with pytest.raises(RunRefused):
        storage.add_historical_run(run_of("org_acme"), None)


def waiting(storage):
    """Tells whether somebody waits for a row."""
    query = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with storage.connect() as connection:
        return connection.execute(text(query)).first() is not None


def event(kind):
    return DagsterEvent(kind.value, "__ASSET_JOB")


STATUS = {
    DagsterRunStatus.QUEUED: Kind.RUN_ENQUEUED,
    DagsterRunStatus.STARTING: Kind.RUN_STARTING,
    DagsterRunStatus.STARTED: Kind.RUN_START,
    DagsterRunStatus.CANCELING: Kind.RUN_CANCELING,
    DagsterRunStatus.CANCELED: Kind.RUN_CANCELED,
    DagsterRunStatus.FAILURE: Kind.RUN_FAILURE,
    DagsterRunStatus.SUCCESS: Kind.RUN_SUCCESS,
}
BEGINNINGS = (Kind.RUN_ENQUEUED, Kind.RUN_STARTING, Kind.RUN_START)


class TestProgress:
    @pytest.fixture
    def run_in(self, storage):
        def make(status):
            run = storage.add_run(run_of("org_acme"))
            storage.handle_run_event(run.run_id, event(STATUS[status]))
            assert self.status(storage, run.run_id) is status
            return run.run_id

        return make

    @staticmethod
    def status(storage, run_id):
        (run,) = storage.get_runs(RunsFilter(run_ids=[run_id]))
        return run.status

    @pytest.mark.parametrize("kind", BEGINNINGS)
    def test_what_is_being_cancelled_does_not_begin(self, storage, run_in, kind):
        run_id = run_in(DagsterRunStatus.CANCELING)
        storage.handle_run_event(run_id, event(kind))
        assert self.status(storage, run_id) is DagsterRunStatus.CANCELING

    @pytest.mark.parametrize("kind", [*BEGINNINGS, Kind.RUN_CANCELING, Kind.RUN_SUCCESS])
    def test_what_has_ended_stays_as_it_ended(self, storage, run_in, kind):
        run_id = run_in(DagsterRunStatus.FAILURE)
        storage.handle_run_event(run_id, event(kind))
        assert self.status(storage, run_id) is DagsterRunStatus.FAILURE

    def test_what_is_executed_is_not_queued(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTED)
        storage.handle_run_event(run_id, event(Kind.RUN_ENQUEUED))
        assert self.status(storage, run_id) is DagsterRunStatus.STARTED

    def test_a_launch_that_failed_is_queued_again(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTING)
        storage.handle_run_event(run_id, event(Kind.RUN_ENQUEUED))
        assert self.status(storage, run_id) is DagsterRunStatus.QUEUED

    def test_of_many_processes_one_executes_it(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTING)
        with ThreadPoolExecutor(8) as executor:
            claims = list(executor.map(lambda n: storage.claim(run_id, f"process {n}"), range(16)))
        assert sorted(claims) == [False] * 15 + [True]
        assert storage.is_claimed(run_id)
        winner = f"process {claims.index(True)}"
        assert not storage.is_claimed_by_another(run_id, winner)
        assert storage.is_claimed_by_another(run_id, "process 16")

    @pytest.mark.parametrize("kind", [Kind.RUN_ENQUEUED, Kind.RUN_STARTING])
    def test_what_a_process_has_begun_stays_starting_and_starts(self, storage, run_in, kind):
        run_id = run_in(DagsterRunStatus.STARTING)
        assert storage.claim(run_id, "a process")
        storage.handle_run_event(run_id, event(kind))
        assert self.status(storage, run_id) is DagsterRunStatus.STARTING
        storage.handle_run_event(run_id, event(Kind.RUN_START))
        assert self.status(storage, run_id) is DagsterRunStatus.STARTED

    def test_one_that_is_claimed_in_this_moment_is_not_queued(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTING)
        claim = {"run_id": run_id, "claimant": "a process"}
        with ThreadPoolExecutor(1) as executor, self.transaction(storage) as connection:
            connection.execute(text(run_progress.CLAIM), claim)
            told = executor.submit(storage.handle_run_event, run_id, event(Kind.RUN_ENQUEUED))
            wait_for(lambda: waiting(storage))
            connection.commit()
            told.result(10)
        assert self.status(storage, run_id) is DagsterRunStatus.STARTING

    def test_of_two_ends_at_one_moment_the_first_counts(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTED)
        reason = JobFailureData(None, RunFailureReason.RUN_EXCEPTION)
        failed = DagsterEvent(Kind.RUN_FAILURE.value, "__ASSET_JOB", event_specific_data=reason)
        of_run = RunsTable.c.run_id == run_id
        with ThreadPoolExecutor(1) as executor, self.transaction(storage) as connection:
            # What the other one reads before this is committed says that the run goes on.
            ended = {"status": "SUCCESS", "end_time": 4711.0}
            connection.execute(RunsTable.update().where(of_run).values(**ended))
            told = executor.submit(storage.handle_run_event, run_id, failed)
            wait_for(lambda: waiting(storage))
            connection.commit()
            told.result(10)
        (record,) = storage.get_run_records(RunsFilter(run_ids=[run_id]))
        assert (record.dagster_run.status, record.end_time) == (DagsterRunStatus.SUCCESS, 4711.0)
        assert "dagster/failure_reason" not in tags_of(storage, record.dagster_run)
        reasons = RunsFilter(tags={"dagster/failure_reason": "RUN_EXCEPTION"}, run_ids=[run_id])
        assert storage.get_runs(reasons) == []

    def test_an_end_says_when_and_why(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTED)
        reason = JobFailureData(None, RunFailureReason.RUN_EXCEPTION)
        failed = DagsterEvent(Kind.RUN_FAILURE.value, "__ASSET_JOB", event_specific_data=reason)
        storage.handle_run_event(run_id, failed, datetime.fromtimestamp(4711, UTC))
        tagged = RunsFilter(tags={"dagster/failure_reason": "RUN_EXCEPTION"}, run_ids=[run_id])
        (record,) = storage.get_run_records(tagged)
        assert (record.dagster_run.status, record.end_time) == (DagsterRunStatus.FAILURE, 4711.0)
        assert record.dagster_run.tags["dagster/failure_reason"] == "RUN_EXCEPTION"

    @staticmethod
    @contextmanager
    def transaction(storage):
        with storage.connect() as shared:
            yield shared.execution_options(isolation_level="READ COMMITTED")

    @pytest.mark.parametrize("status", sorted(set(STATUS) - {DagsterRunStatus.STARTING}, key=str))
    def test_what_is_not_starting_is_not_executed(self, storage, run_in, status):
        run_id = run_in(status)
        assert not storage.claim(run_id, "a process")
        assert not storage.is_claimed(run_id)

    def test_a_deleted_run_leaves_no_claim(self, storage, run_in):
        run_id = run_in(DagsterRunStatus.STARTING)
        storage.claim(run_id, "a process")
        storage.delete_run(run_id)
        assert not storage.is_claimed(run_id)
