"""Who may change what: roles, other orgs' things, and the control plane, which is asked first."""

import pytest
from dagster import RunsFilter

from datanika_dagster.gateway import permissions
from datanika_dagster.gateway.principal import Role
from datanika_manifest.intents import INTENTS
from datanika_manifest.run_records import LAUNCH_TAG, ORG_TAG
from tests.datanika_dagster.gateway import calls
from tests.datanika_dagster.gateway.calls import MUTATIONS
from tests.datanika_dagster.gateway.operations import operation
from tests.datanika_dagster.gateway.rows import digest

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STOP = (409, {"detail": "Stopped by the test.", "code": "test.stopped"})
UNKNOWN_TO_DAGSTER = {"stopRunningSchedule", "stopSensor"}
"""The world's schedule is in the storage and not in the org's definitions."""
ENTRIES = """{ workspaceOrError { ... on Workspace { locationEntries {
  permissions { permission value } } } } }"""


def code(answer) -> str | None:
    errors = answer.json().get("errors")
    return errors[0].get("extensions", {}).get("code") if errors else None


def mutate(ui, name, arguments, role=Role.OWNER, org=None):
    return ui.post(operation("mutation", name, 1), arguments, role, org)


@pytest.fixture
def stopped(ui):
    ui.control_plane.intent_refusal = STOP
    yield
    ui.control_plane.intent_refusal = None


@pytest.fixture
def unchanged(ui):
    before = digest(ui.mine.instance)
    yield
    assert digest(ui.mine.instance) == before


class TestRoles:
    @pytest.mark.parametrize("role", Role)
    def test_a_role_may_what_the_table_says_and_the_control_plane_allows(
        self, ui, stopped, unchanged, role
    ):
        """Each own thing, each mutation: who may is asked of the control plane, which says no."""
        for name, arguments in MUTATIONS.items():
            if name == "setNuxSeen":
                continue
            may = name in INTENTS and role.at_least(Role(INTENTS[name].role))
            allowed = "not_found" if name in UNKNOWN_TO_DAGSTER else "test.stopped"
            answer = mutate(ui, name, arguments(ui.mine), role)
            assert code(answer) == (allowed if may else "permission.denied"), name

    @pytest.mark.parametrize("role", Role)
    def test_what_the_ui_greys_out_is_what_is_refused(self, ui, stopped, role):
        entries = ui.ask(ENTRIES, role=role)["workspaceOrError"]["locationEntries"]
        said = {one["permission"]: one["value"] for one in entries[0]["permissions"]}
        for permission, mutation in permissions.MUTATION_OF.items():
            if permission.value not in said:
                continue
            is_enforced = mutation is None or (
                code(mutate(ui, mutation, MUTATIONS[mutation](ui.mine), role))
                == "permission.denied"
            )
            assert said[permission.value] is not is_enforced, permission

    def test_the_ui_is_not_told_that_it_is_new(self, ui, unchanged):
        assert mutate(ui, "setNuxSeen", {}).json()["data"] == {"setNuxSeen": True}


class TestForeign:
    @pytest.mark.parametrize("name", sorted(set(MUTATIONS) - {"setNuxSeen"}))
    def test_nothing_of_another_orgs_changes(self, ui, unchanged, name):
        before = list(ui.control_plane.intents)
        answer = mutate(ui, name, MUTATIONS[name](ui.theirs))
        assert code(answer) in {"not_found", "permission.denied"}, answer.text
        assert ui.control_plane.intents == before
        assert ui.theirs.canary not in answer.text

    def test_the_other_orgs_own_people_could_have(self, ui, stopped):
        """The positive control: the same calls, by somebody of that org."""
        for name in set(INTENTS) - UNKNOWN_TO_DAGSTER:
            answer = mutate(ui, name, MUTATIONS[name](ui.theirs), org=ui.theirs)
            assert code(answer) == "test.stopped", name

    def test_one_foreign_thing_among_own_ones_is_enough(self, ui, unchanged):
        mine, theirs = ui.mine, ui.theirs
        own_with_foreign_asset = calls.execution(mine) | {
            "selector": calls.job(mine) | {"assetSelection": [calls.asset(theirs)]}
        }
        mixed = {
            "terminateRuns": {"runIds": [mine.run.run_id, theirs.run.run_id]},
            "launchMultipleRuns": {
                "executionParamsList": [calls.execution(mine), calls.execution(theirs)]
            },
            "launchRun": {"executionParams": own_with_foreign_asset},
            "launchRunReexecution": {
                "executionParams": calls.execution(mine)
                | {
                    "executionMetadata": {
                        "parentRunId": theirs.run.run_id,
                        "rootRunId": mine.run.run_id,
                    }
                }
            },
            "wipeAssets": {
                "assetPartitionRanges": [
                    {"assetKey": calls.asset(mine)},
                    {"assetKey": calls.asset(theirs)},
                ]
            },
            "launchPartitionBackfill": {
                "backfillParams": {
                    "assetSelection": [calls.asset(mine), calls.asset(theirs)],
                    "allPartitions": True,
                }
            },
        }
        for name, arguments in mixed.items():
            assert code(mutate(ui, name, arguments)) == "not_found", name


class TestLaunch:
    def launch(self, ui, role=Role.EDITOR, **changes):
        query = """mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) {
          __typename ... on LaunchRunSuccess { run { runId tags { key value } } }
          ... on PythonError { message } } }"""
        params = calls.execution(ui.mine) | changes
        return ui.post(query, {"p": params}, role)

    def test_a_run_says_who_launched_it(self, ui):
        answer = self.launch(ui).json()["data"]["launchRun"]
        run = ui.mine.instance.get_run_by_id(answer["run"]["runId"])
        assert run is not None
        declared = ui.control_plane.intents[-1]
        assert declared["who"] == f"editor@{ui.mine.slug}.example"
        assert (declared["field"], declared["launches"]) == ("launchRun", 1)
        kinds = {target["kind"] for target in declared["targets"]}
        assert kinds == {"asset", "code_location", "job"}
        assert run.tags[LAUNCH_TAG] == str(1000 + len(ui.control_plane.intents) * 100)
        assert run.tags[ORG_TAG] == ui.mine.slug
        assert run.tags["team"] == ui.mine.canary

    def test_a_retry_says_who_wanted_it_and_not_who_launched_the_first(self, ui):
        first = self.launch(ui).json()["data"]["launchRun"]["run"]["runId"]
        query = """mutation ($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p)
          { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        params = {"parentRunId": first, "strategy": "ALL_STEPS"}
        answer = ui.ask(query, {"p": params}, Role.ADMIN)["launchRunReexecution"]
        storage = ui.mine.instance
        runs = storage.get_runs(RunsFilter(run_ids=[first, answer["run"]["runId"]]))
        assert len({run.tags[LAUNCH_TAG] for run in runs}) == 2

    def test_nobody_says_that_somebody_else_launched(self, ui):
        tags = [{"key": LAUNCH_TAG, "value": "1"}, {"key": ORG_TAG, "value": ui.theirs.slug}]
        answer = self.launch(ui, executionMetadata={"tags": tags}).json()["data"]["launchRun"]
        run = ui.mine.instance.get_run_by_id(answer["run"]["runId"])
        assert run.tags[LAUNCH_TAG] != "1"
        assert run.tags[ORG_TAG] == ui.mine.slug

    @pytest.mark.parametrize(
        "config", [{"execution": {}}, {"ops": {"x": {}}}, "ops: {}", "{ops: {}}", {"x": None}]
    )
    def test_jobs_take_no_configuration(self, ui, unchanged, config):
        assert code(self.launch(ui, runConfigData=config)) == "run_config.refused"

    def test_the_control_plane_refuses_and_nothing_happens(self, ui, stopped, unchanged):
        answer = self.launch(ui)
        assert code(answer) == "test.stopped"
        assert "Stopped by the test." in answer.text

    def test_nothing_happens_while_the_control_plane_is_away(self, ui, unchanged):
        ui.control_plane.intent_refusal = (503, {})
        try:
            assert code(self.launch(ui)) == "control_plane.unreachable"
        finally:
            ui.control_plane.intent_refusal = None


def test_a_schedule_is_switched_where_the_daemon_looks(ui):
    query = """mutation ($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) {
      __typename ... on ScheduleStateResult { scheduleState { id status } }
      ... on PythonError { message } } }"""
    selector = {"s": calls.schedule(ui.mine) | {"scheduleName": "schedule_4"}}
    state = ui.ask(query, selector, Role.ADMIN)["startSchedule"]["scheduleState"]
    assert state["status"] == "RUNNING"
    declared = ui.control_plane.intents[-1]
    assert {"kind": "schedule", "id": "schedule_4"} in declared["targets"]
    stop = """mutation ($id: String!) { stopRunningSchedule(id: $id) {
      __typename ... on ScheduleStateResult { scheduleState { status } } } }"""
    answer = ui.ask(stop, {"id": state["id"]}, Role.ADMIN)["stopRunningSchedule"]
    assert answer["scheduleState"]["status"] == "STOPPED"
    declared = ui.control_plane.intents[-1]
    assert declared["field"] == "stopRunningSchedule"
    assert {"kind": "schedule", "id": "schedule_4"} in declared["targets"]
