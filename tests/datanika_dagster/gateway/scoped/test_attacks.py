"""What somebody of an org tries to do to another's, with their own instance in their hands."""

from collections import deque

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, RunsFilter
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.errors import DagsterRunNotFoundError
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.tags import ROOT_RUN_ID_TAG
from dagster._core.utils import make_new_run_id
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo
from graphql import GraphQLError

from datanika_dagster.errors import RunRefused
from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped import ConfigRefused, NotEnded, OrgBoundary
from datanika_manifest.run_records import LAUNCH_TAG, ORG_TAG
from tests.datanika_dagster.test_storage import run_of


def stored(org, run_id):
    (run,) = org.instance.run_storage.get_runs(RunsFilter(run_ids=[run_id]))
    return run


class TestRuns:
    def test_an_own_run_is_stored_with_who_launched_it(self, mine):
        run = mine.view(Role.EDITOR).run_storage.add_run(run_of(mine.location))
        assert stored(mine, run.run_id).tags["user"] == f"user of {mine.slug}"
        assert mine.view().run_storage.has_run(run.run_id)

    @pytest.mark.parametrize("location", [None, "theirs", "elsewhere"])
    def test_a_run_comes_from_the_orgs_own_location(self, mine, theirs, location):
        run = run_of(theirs.location if location == "theirs" else location)
        with pytest.raises(OrgBoundary):
            mine.view().run_storage.add_run(run)
        assert not mine.instance.run_storage.has_run(run.run_id)

    @pytest.mark.parametrize("field", ["parent_run_id", "root_run_id"])
    def test_lineage_is_the_orgs_own(self, mine, theirs, field):
        own = {"parent_run_id": mine.run.run_id, "root_run_id": mine.run.run_id}
        assert mine.view().run_storage.add_run(run_of(mine.location, **own))
        child = run_of(mine.location, **own | {field: theirs.run.run_id})
        with pytest.raises(OrgBoundary):
            mine.view().run_storage.add_run(child)
        # Nor where that wall has fallen.
        with pytest.raises(RunRefused):
            mine.instance.run_storage.add_run(child)
        assert not mine.instance.run_storage.has_run(child.run_id)

    def test_its_tags_are_a_persons(self, mine, theirs):
        spoofed = {
            ORG_TAG: theirs.slug,
            LAUNCH_TAG: "4711",
            "user": "somebody else",
            ".dagster/repository": f"__repository__@{theirs.location}",
            "dagster/code_location": theirs.location,
            "dagster/schedule_name": theirs.schedule,
            "dagster/backfill": theirs.backfill.backfill_id,
            "dagster/priority": "99",
            "dagster-k8s/config": "{}",
            "ecs/cpu": "64",
            "some-launcher/of-tomorrow": "x",
            "dagster/of_tomorrow": "x",
            "mine": "kept",
            "dagster/partition": "2026-01-01",
        }
        run = mine.view().run_storage.add_run(run_of(mine.location, tags=spoofed))
        assert stored(mine, run.run_id).tags == {
            ORG_TAG: mine.slug,
            "user": f"user of {mine.slug}",
            "dagster/code_location": mine.location,
            "dagster/priority": "10",
            "mine": "kept",
            "dagster/partition": "2026-01-01",
        }
        labels = RunsFilter(
            run_ids=[run.run_id],
            tags={".dagster/repository": f"__repository__@{mine.location}"},
        )
        assert mine.instance.run_storage.get_runs_count(labels) == 1

    def test_each_run_takes_a_launch_that_was_noted_for_it(self, mine):
        launch_ids = deque[str]()
        storage = mine.view(Role.EDITOR, launch_ids).run_storage
        launch_ids.extend(["1", "2", "3"])
        first = storage.add_run(run_of(mine.location))
        lineage = {"parent_run_id": first.run_id, "root_run_id": first.run_id}
        again = storage.add_run(run_of(mine.location, tags=first.tags, **lineage))
        assert [stored(mine, run.run_id).tags[LAUNCH_TAG] for run in (first, again)] == ["1", "2"]
        # The daemon's retry of it was launched by nobody.
        retry = mine.instance.run_storage.add_run(run_of(mine.location, tags=first.tags, **lineage))
        assert LAUNCH_TAG not in stored(mine, retry.run_id).tags
        assert list(launch_ids) == ["3"]

    def test_tags_that_are_added_later_are_a_persons(self, mine):
        mine.view().run_storage.add_run_tags(
            mine.run.run_id, {ORG_TAG: "x", LAUNCH_TAG: "1", "dagster/will_retry": "true", "b": "c"}
        )
        tags = stored(mine, mine.run.run_id).tags
        assert tags["b"] == "c"
        assert tags[ORG_TAG] == mine.slug
        assert not {LAUNCH_TAG, "dagster/will_retry"} & tags.keys()

    def test_a_run_that_goes_on_is_not_deleted_and_one_that_has_ended_is(self, mine):
        storage, run_id = mine.view().run_storage, mine.run.run_id
        with pytest.raises(NotEnded):
            storage.delete_run(run_id)
        assert stored(mine, run_id)

    def test_nothing_is_done_to_another_orgs_run(self, mine, theirs):
        before = stored(theirs, theirs.run.run_id)
        storage, run_id = mine.view().run_storage, theirs.run.run_id
        canceled = DagsterEvent(DagsterEventType.RUN_CANCELED.value, "job")
        for attempt in (
            lambda: storage.delete_run(run_id),
            lambda: storage.add_run_tags(run_id, {"a": "b"}),
            lambda: storage.handle_run_event(run_id, canceled),
            lambda: mine.view().report_run_canceled(theirs.run),
            lambda: mine.view().report_engine_event("hello", theirs.run),
            lambda: mine.view().delete_run(run_id),
            lambda: mine.view().run_coordinator.cancel_run(run_id),
            lambda: mine.view().run_launcher.terminate(run_id),
            lambda: mine.view().run_coordinator.submit_run(SubmitRunContext(theirs.run, None)),
            lambda: mine.view().submit_run(run_id, None),
        ):
            with pytest.raises(Exception, match=r"organization|Could not load run"):
                attempt()
        assert stored(theirs, run_id) == before

    def test_a_person_cancels_a_run_and_does_not_end_it_otherwise(self, mine):
        storage = mine.view(Role.EDITOR).run_storage
        run = storage.add_run(run_of(mine.location))
        for kind in (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_START):
            with pytest.raises(OrgBoundary):
                storage.handle_run_event(run.run_id, DagsterEvent(kind.value, "job"))
        mine.view(Role.EDITOR).report_run_canceled(run)
        assert stored(mine, run.run_id).status is dg.DagsterRunStatus.CANCELED

    def test_it_takes_no_configuration(self, mine):
        with pytest.raises(ConfigRefused):
            mine.view().run_storage.add_run(run_of(mine.location, run_config={"ops": {"x": {}}}))

    @pytest.mark.parametrize("field", ["asset_selection", "asset_check_selection"])
    def test_it_selects_the_orgs_own_assets(self, mine, theirs, field):
        named = {"asset_selection": "key", "asset_check_selection": "check"}[field]
        own, foreign = getattr(mine, named), getattr(theirs, named)
        assert mine.view().run_storage.add_run(run_of(mine.location, **{field: frozenset({own})}))
        with pytest.raises(OrgBoundary):
            mine.view().run_storage.add_run(
                run_of(mine.location, **{field: frozenset({own, foreign})})
            )

    def test_a_snapshot_is_not_taken_by_naming_it(self, mine, theirs):
        view = mine.view().run_storage
        foreign = theirs.run.job_snapshot_id
        assert not view.has_job_snapshot(foreign)
        with pytest.raises(OrgBoundary):
            view.add_run(run_of(mine.location, job_snapshot_id=foreign))
        assert not view.has_job_snapshot(foreign)
        # Who has the same content has the same snapshot.
        theirs.view().run_storage.add_job_snapshot(mine.job_snapshot)
        assert theirs.view().run_storage.has_job_snapshot(mine.run.job_snapshot_id)

    def test_a_group_is_the_orgs_own_even_with_others_in_it(self, mine, theirs):
        storage = mine.instance.run_storage
        foreign = storage.add_run(run_of(theirs.location))
        storage.add_run_tags(foreign.run_id, {ROOT_RUN_ID_TAG: mine.run.run_id})
        _, everything = storage.get_run_group(mine.child.run_id)
        assert foreign.run_id in {run.run_id for run in everything}
        root, group = mine.view().run_storage.get_run_group(mine.child.run_id)
        assert root == mine.run.run_id
        ids = {run.run_id for run in group}
        assert {mine.run.run_id, mine.child.run_id} <= ids
        assert foreign.run_id not in ids
        with pytest.raises(DagsterRunNotFoundError):
            mine.view().run_storage.get_run_group(theirs.run.run_id)

    @pytest.mark.parametrize("ascending", [True, False])
    def test_a_cursor_tells_nothing_of_another_orgs_run(self, mine, theirs, ascending):
        after = mine.instance.run_storage.add_run(run_of(mine.location))
        assert mine.view().run_storage.get_runs(cursor=after.run_id)
        for cursor in (theirs.run.run_id, make_new_run_id()):
            view = mine.view().run_storage
            assert view.get_runs(cursor=cursor, ascending=ascending) == []
            assert view.get_run_records(cursor=cursor, ascending=ascending) == []
            assert view.get_run_ids(cursor=cursor) == []

    def test_counts_are_of_the_orgs_own(self, mine):
        view = mine.view().run_storage
        assert view.get_runs_count() == len(view.get_runs()) == len(view.get_run_ids())
        assert view.get_runs_count() < mine.instance.run_storage.get_runs_count()
        assert view.get_backfills_count() == len(view.get_backfills())
        assert view.get_backfills_count() < mine.instance.run_storage.get_backfills_count()


class TestBackfills:
    def test_an_own_one_is_stored_and_seen(self, mine):
        backfill = mine.new_backfill(tags={ORG_TAG: "x", LAUNCH_TAG: "1", "a": "b"})
        mine.view(Role.EDITOR).add_backfill(backfill)
        found = mine.view().get_backfill(backfill.backfill_id)
        assert found.tags == {ORG_TAG: mine.slug, "a": "b", "user": f"user of {mine.slug}"}

    def test_of_another_orgs_assets_there_is_none(self, mine, theirs):
        for keys in ([theirs.key], [mine.key, theirs.key]):
            backfill = mine.new_backfill(asset_selection=keys)
            with pytest.raises(OrgBoundary):
                mine.view().add_backfill(backfill)
            assert mine.instance.get_backfill(backfill.backfill_id) is None

    def test_it_does_not_descend_from_another_orgs(self, mine, theirs):
        names = ("dagster/parent_backfill_id", "dagster/root_backfill_id", "dagster/backfill")
        for of, kept in ((mine, set(names)), (theirs, set())):
            backfill = mine.new_backfill(tags=dict.fromkeys(names, of.backfill.backfill_id))
            mine.view().add_backfill(backfill)
            tags = mine.view().get_backfill(backfill.backfill_id).tags
            assert {name for name in names if name in tags} == kept

    def test_it_brings_along_nothing_of_the_daemons(self, mine, theirs):
        backfill = mine.new_backfill(reserved_run_ids=[theirs.run.run_id])
        with pytest.raises(OrgBoundary):
            mine.view().add_backfill(backfill)

    def test_only_its_status_is_changed(self, mine, theirs):
        changed = mine.backfill._replace(
            status=BulkActionStatus.CANCELING, asset_selection=[theirs.key], tags={ORG_TAG: "x"}
        )
        mine.view(Role.EDITOR).update_backfill(changed)
        found = mine.instance.get_backfill(mine.backfill.backfill_id)
        assert found == mine.instance.get_backfill(mine.backfill.backfill_id)._replace(
            status=BulkActionStatus.CANCELING
        )
        assert found.asset_selection == [mine.key]
        assert found.tags[ORG_TAG] == mine.slug

    @pytest.mark.parametrize(
        "status", [BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.FAILED]
    )
    def test_it_is_not_said_to_be_done(self, mine, status):
        with pytest.raises(OrgBoundary):
            mine.view().update_backfill(mine.backfill.with_status(status))

    def test_another_orgs_is_not_cancelled(self, mine, theirs):
        with pytest.raises(OrgBoundary):
            mine.view().update_backfill(theirs.backfill.with_status(BulkActionStatus.CANCELING))
        found = mine.instance.get_backfill(theirs.backfill.backfill_id)
        assert found.status is BulkActionStatus.REQUESTED

    def test_a_cursor_tells_nothing(self, mine, theirs):
        last = mine.new_backfill()
        mine.instance.add_backfill(last)
        assert mine.view().get_backfills(cursor=last.backfill_id)
        assert mine.view().get_backfills(cursor=theirs.backfill.backfill_id) == []


class TestAssets:
    def report(self, org, event, role=Role.ADMIN):
        org.view(role).report_runless_asset_event(event)

    @pytest.fixture(params=["materialization", "observation", "check"])
    def event_of(self, request):
        return {
            "materialization": lambda org: dg.AssetMaterialization(org.key),
            "observation": lambda org: dg.AssetObservation(org.key),
            "check": lambda org: AssetCheckEvaluation(
                asset_key=org.key, check_name=org.canary, passed=False, metadata={}
            ),
        }[request.param]

    def test_an_admin_reports_of_own_assets_only(self, mine, theirs, event_of):
        self.report(mine, event_of(mine))
        with pytest.raises(OrgBoundary):
            self.report(mine, event_of(theirs))
        with pytest.raises(OrgBoundary):
            self.report(mine, event_of(mine), Role.EDITOR)

    def test_nobody_reports_of_assets_that_are_not_there(self, mine):
        unknown = dg.AssetKey([mine.slug, "warehouse", "raw", "made_up"])
        with pytest.raises(OrgBoundary):
            self.report(mine, dg.AssetMaterialization(unknown))
        assert not mine.instance.has_asset_key(unknown)

    def test_only_own_assets_are_wiped(self, mine, theirs):
        gone = dg.AssetKey([mine.slug, "warehouse", "raw", "gone"])
        mine.instance.report_runless_asset_event(dg.AssetMaterialization(gone))
        mine.view(Role.ADMIN).wipe_assets([gone])
        assert not mine.instance.has_asset_key(gone)
        with pytest.raises(OrgBoundary):
            mine.view().wipe_assets([theirs.key])
        assert mine.instance.has_asset_key(theirs.key)

    def test_a_run_says_for_itself_what_it_made(self, mine):
        made = DagsterEvent(
            DagsterEventType.ASSET_MATERIALIZATION.value,
            "job",
            event_specific_data=dg._core.events.StepMaterializationData(
                dg.AssetMaterialization(mine.key)
            ),
        )
        with pytest.raises(OrgBoundary):
            mine.view().report_dagster_event(made, mine.run.run_id)


class TestPools:
    def test_whose_steps_wait_or_run_is_told_of_own_ones(self, mine, theirs):
        everybodys = mine.instance.event_log_storage.get_concurrency_run_ids()
        assert {mine.run.run_id, theirs.run.run_id} <= everybodys
        view = mine.view().event_log_storage
        assert view.get_concurrency_run_ids() == {mine.run.run_id}
        # A copy: who changes it changes nobody's answer.
        view.get_concurrency_run_ids().clear()
        assert view.get_concurrency_run_ids() == {mine.run.run_id}


class TestSchedules:
    def test_an_admin_stops_and_starts_own_ones(self, mine):
        view = mine.view(Role.ADMIN)
        for status in (InstigatorStatus.STOPPED, InstigatorStatus.RUNNING):
            view.update_instigator_state(mine.state.with_status(status))
            (found,) = mine.view().all_instigator_state()
            assert found.status is status

    def test_others_stay_as_they_are(self, mine, theirs):
        storage = mine.view().schedule_storage
        origin, selector = theirs.state.instigator_origin_id, theirs.state.selector_id
        for attempt in (
            lambda: storage.update_instigator_state(
                theirs.state.with_status(InstigatorStatus.STOPPED)
            ),
            lambda: storage.add_instigator_state(theirs.state),
            lambda: storage.delete_instigator_state(origin, selector),
            # Dagster finds a state by one id and deletes by both.
            lambda: storage.delete_instigator_state(origin, mine.state.selector_id),
        ):
            with pytest.raises(OrgBoundary):
                attempt()
        found = theirs.instance.get_instigator_state(origin, selector)
        assert found.status is InstigatorStatus.RUNNING

    def test_summaries_of_ticks_are_of_own_ones(self, mine, theirs):
        def summaries(instance, org):
            state = org.state
            return instance.get_tick_summaries(state.instigator_origin_id, state.selector_id)

        assert summaries(mine.view(), mine)
        assert summaries(theirs.instance, theirs)
        assert summaries(mine.view(), theirs) == []


class TestLogs:
    def read(self, instance, log_key):
        return instance.compute_log_manager.get_log_data(log_key).stdout

    @pytest.mark.parametrize("which", [0, 1, 2], ids=["run", "backfill", "tick"])
    def test_are_the_orgs_own(self, mine, theirs, which):
        own, foreign = mine.log_keys[which], theirs.log_keys[which]
        assert self.read(mine.view(Role.VIEWER), own) == mine.canary.encode()
        assert self.read(theirs.instance, foreign) == theirs.canary.encode()
        manager = mine.view().compute_log_manager
        for attempt in (
            lambda: self.read(mine.view(), foreign),
            lambda: manager.get_captured_local_path(foreign, "out"),
            lambda: manager.get_captured_log_download_url(foreign, None),
            lambda: manager.get_log_metadata(foreign),
            lambda: manager.is_capture_complete(foreign),
            lambda: manager.subscribe(foreign),
        ):
            with pytest.raises(OrgBoundary):
                attempt()

    @pytest.mark.parametrize(
        "part",
        ["..", ".", "", "a/b", "..\\x", "x\0y", "../../{their_run}/compute_logs/step"],
    )
    def test_no_part_of_a_key_leads_elsewhere(self, mine, theirs, part):
        part = part.format(their_run=theirs.run.run_id)
        for log_key in (
            [mine.run.run_id, part],
            [mine.run.run_id, part, "step"],
            [mine.run.run_id, "..", theirs.run.run_id, "compute_logs", "step"],
            [part, mine.run.run_id, "step"],
            ["backfill", part],
            ["backfill", mine.backfill.backfill_id, part],
        ):
            with pytest.raises(OrgBoundary):
                self.read(mine.view(), log_key)

    @pytest.mark.parametrize("tick_id", ["theirs", "-1", "1.0", "x", "²", "9" * 400, ""])
    def test_a_tick_is_one_of_its_schedules(self, mine, theirs, tick_id):
        wanted = str(theirs.tick.tick_id) if tick_id == "theirs" else tick_id
        with pytest.raises(OrgBoundary):
            self.read(mine.view(), ["__repository__", mine.schedule, wanted])

    @pytest.mark.parametrize("log_key", [[], ["x"], ["backfill"], ["__repository__", "x"]])
    def test_a_short_key_is_nobodys(self, mine, log_key):
        with pytest.raises(OrgBoundary):
            self.read(mine.view(), log_key)

    def test_a_run_alone_is_no_log(self, mine):
        with pytest.raises(OrgBoundary):
            self.read(mine.view(), [mine.run.run_id])

    @pytest.mark.parametrize("extension", ["../x", "out/../../x", "yaml", ""])
    def test_a_path_is_one_of_a_log(self, mine, extension):
        manager = mine.view().compute_log_manager
        assert manager.get_captured_local_path(mine.log_keys[0], "err")
        with pytest.raises(OrgBoundary):
            manager.get_captured_local_path(mine.log_keys[0], extension)

    def test_where_they_are_is_not_said(self, mine):
        found = mine.view().compute_log_manager.get_log_metadata(mine.log_keys[0])
        assert found.stdout_location is None
        assert found.stdout_download_url == f"/logs/{mine.run.run_id}/compute_logs/step/out"


class TestInstallation:
    def test_nothing_is_told_of_it(self, mine):
        view = mine.view()
        assert view.info_str() == ""
        assert view.info_dict() == {}
        assert view.schema_str() == ""
        config = view.get_concurrency_config().run_queue_config
        assert not config.tag_concurrency_limits

    def test_the_reference_that_code_servers_get_names_no_secret(self, mine, shared_dagster_home):
        ref = mine.view().get_ref()
        assert isinstance(ref, InstanceRef)
        password = shared_dagster_home.storage_url.split(":")[2].split("@")[0]
        assert password not in repr(ref.to_dict())

    def test_beats_of_the_daemon_without_what_went_wrong(self, mine, theirs):
        error = SerializableErrorInfo(theirs.canary, [], None)
        mine.instance.add_daemon_heartbeat(DaemonHeartbeat(1.0, "SENSOR", "x", [error]))
        assert theirs.canary in repr(mine.instance.get_daemon_heartbeats())
        assert mine.view().get_daemon_heartbeats()["SENSOR"].errors == []

    def test_cursors_of_the_daemon_are_its_own(self, mine):
        mine.instance.daemon_cursor_storage.set_cursor_values(
            {"x": "y", "ASSET_DAEMON_PAUSED": "n"}
        )
        found = mine.view().daemon_cursor_storage.get_cursor_values({"x", "ASSET_DAEMON_PAUSED"})
        assert found == {"ASSET_DAEMON_PAUSED": "n"}

    def test_a_refusal_is_the_same_for_all_there_is_and_is_not(self, mine, theirs):
        texts = set()
        for snapshot_id in (theirs.run.job_snapshot_id, "none"):
            with pytest.raises(GraphQLError) as refused:
                mine.view().run_storage.get_job_snapshot(snapshot_id)
            texts.add(str(refused.value))
        assert len(texts) == 1
