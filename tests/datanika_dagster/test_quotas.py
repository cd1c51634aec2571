"""An org starts no more runs within an hour than it may, whoever starts them and however fast."""

from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType
from sqlalchemy import text

from datanika_dagster import quotas
from datanika_dagster.automation.schedules import schedule_definitions
from datanika_dagster.errors import QuotaExceeded
from datanika_dagster.launcher.quota_knowledge import QuotaKnowledge
from datanika_manifest.quotas import Quota, Quotas, retry_after_seconds
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.test_storage import run_of


@pytest.fixture
def storage(instance):
    yield instance.run_storage
    with instance.run_storage.connect() as connection:
        connection.execute(text("DELETE FROM datanika.launches"))
        connection.execute(text("DELETE FROM datanika.quotas"))


def allow(storage, org, runs_per_hour):
    quota = Quota(parallel_runs=4, runs_per_hour=runs_per_hour)
    quotas.keep(storage, Quotas(default=Quota(runs_per_hour=1000), orgs={org: quota}))


def make_older(storage, org, minutes):
    with storage.connect() as connection:
        connection.execute(
            text(
                "UPDATE datanika.launches SET launched_at = launched_at - :age * interval '1 minute'"
                " WHERE org = :org"
            ),
            {"org": org, "age": minutes},
        )


class TestRunsOfAnHour:
    def test_the_next_one_is_refused_with_the_time_when_it_may_start(self, storage):
        allow(storage, "few", 2)
        storage.add_run(run_of("org_few"))
        make_older(storage, "few", 50)
        storage.add_run(run_of("org_few"))
        refused = run_of("org_few")
        with pytest.raises(QuotaExceeded, match="has started 2 runs within an hour") as error:
            storage.add_run(refused)
        assert 9 * 60 < retry_after_seconds(str(error.value)) <= 10 * 60
        assert storage.get_runs(dg.RunsFilter(run_ids=[refused.run_id])) == []
        make_older(storage, "few", 11)
        storage.add_run(run_of("org_few"))

    def test_nobody_counts_for_another(self, storage):
        allow(storage, "a", 1)
        for org in ("a", "ab", "a_b"):
            storage.add_run(run_of(f"org_{org}"))
        storage.add_run(run_of("org_ab"))
        with pytest.raises(QuotaExceeded):
            storage.add_run(run_of("org_a"))

    def test_none_at_all(self, storage):
        allow(storage, "shut", 0)
        with pytest.raises(QuotaExceeded, match="may start no runs"):
            storage.add_run(run_of("org_shut"))

    def test_a_lower_quota_waits_until_enough_are_past(self, storage):
        allow(storage, "less", 5)
        for _ in range(5):
            storage.add_run(run_of("org_less"))
            make_older(storage, "less", 10)
        allow(storage, "less", 2)
        # The last two were started 10 and 20 minutes ago: in 40 there is one.
        assert 39 * 60 < retry_after_seconds(quotas.refusal(storage, "less")) <= 40 * 60

    def test_at_once_not_one_more_starts(self, storage):
        allow(storage, "burst", 5)

        def start(_):
            try:
                storage.add_run(run_of("org_burst"))
            except QuotaExceeded:
                return 0
            return 1

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(start, range(20))) == 5

    def test_a_deleted_run_counts(self, storage):
        allow(storage, "gone", 1)
        run = storage.add_run(run_of("org_gone"))
        storage.delete_run(run.run_id)
        with pytest.raises(QuotaExceeded):
            storage.add_run(run_of("org_gone"))

    def test_what_the_platform_does_again_is_not_refused(self, storage):
        allow(storage, "again", 1)
        first = storage.add_run(run_of("org_again"))
        retried = run_of("org_again", parent_run_id=first.run_id, root_run_id=first.run_id)
        with pytest.raises(QuotaExceeded):
            storage.add_run(retried)
        with quotas.without_limit():
            storage.add_run(retried)


class TestSchedules:
    def test_a_tick_is_a_skip_with_the_reason(self, storage, instance, monkeypatch):
        monkeypatch.setenv("DATANIKA_ORG", "acme")
        allow(storage, "acme", 1)
        schedule, _ = schedule_definitions(manifest())
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=dg._time.get_current_datetime()
        )
        assert len(schedule.evaluate_tick(context).run_requests) == 1
        run = storage.add_run(run_of("org_acme"))
        starting = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, run.job_name)
        instance.report_dagster_event(starting, run.run_id)
        answer = schedule.evaluate_tick(context)
        assert answer.run_requests == []
        assert "as many as it may" in answer.skip_message


class TestKnowledge:
    def test_quotas_are_kept_and_go(self, storage, monkeypatch):
        monkeypatch.setattr("datanika_dagster.launcher.quota_knowledge.LOOK_SECONDS", 0.0)
        answers = [
            Quotas(orgs={"few": Quota(parallel_runs=1, runs_per_hour=0)}),
            Quotas(default=Quota(parallel_runs=2)),
        ]
        knowledge = QuotaKnowledge(lambda: answers.pop(0))
        knowledge.look(storage)
        assert quotas.refusal(storage, "few")
        assert quotas.refusal(storage, "other") is None
        knowledge.look(storage)
        assert quotas.refusal(storage, "few") is None
