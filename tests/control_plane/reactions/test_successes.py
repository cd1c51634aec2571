"""A success launches what comes after it, once, wherever a process dies in between."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.dependencies.models import Dependency
from control_plane.reactions import launching
from control_plane.reactions.launching import ReactionLauncher
from control_plane.reactions.models import Reaction
from control_plane.reactions.repository import ReactionRepository
from control_plane.runs.launching import LAUNCH_TIMEOUT, RunLauncher
from control_plane.runs.models import Launch, Run
from control_plane.runs.reconciliation import RunReconciler
from control_plane.runs.schemas import RunTarget
from tests.factories.targets import make_upload

FIRST, SECOND = RunTarget(type="upload", id=1), RunTarget(type="upload", id=2)
NOWHERE = ("transformation", 99)


@pytest.fixture
def platform(factory, flaky, dagster_client, session, member):
    return Platform(factory, flaky, dagster_client, session, member)


class Platform:
    """The worker's jobs, each pass by a process of its own."""

    def __init__(self, factory, flaky, dagster, session, member):
        self.factory, self.flaky, self.dagster = factory, flaky, dagster
        self.session, self.member = session, member

    def edge(self, upstream=("upload", 1), downstream=("upload", 2), **values):
        enter_org(self.session, self.member.org.id)
        row = Dependency(
            org_id=self.member.org.id,
            upstream_type=upstream[0],
            upstream_id=upstream[1],
            downstream_type=downstream[0],
            downstream_id=downstream[1],
            **{"triggers_since": utc_now() - timedelta(minutes=5)} | values,
        )
        self.session.add(row)
        self.session.commit()
        return row.id

    def run(self, *targets, status="SUCCESS"):
        """Launches a run, which ends at once."""
        run = RunLauncher(self.factory, self.dagster, self.member.caller).launch(targets, None)
        self.flaky.statuses[run.id] = status
        return run.id

    def reconcile(self):
        reactions = ReactionLauncher(self.factory, self.dagster)
        RunReconciler(self.factory, self.dagster, reactions.note_success).run_once()

    def react(self):
        ReactionLauncher(self.factory, self.dagster).run_once()

    def everything(self):
        self.reconcile()
        self.react()

    def rows(self, model):
        enter_org(self.session, self.member.org.id)
        self.session.expire_all()
        return list(self.session.scalars(select(model).order_by(model.id)))

    def make_due(self):
        for reaction in self.rows(Reaction):
            reaction.next_attempt_at = utc_now()
        self.session.commit()

    def started(self):
        return set(self.flaky.runs.values())


class TestOnce:
    def test_the_downstream_target_is_launched_in_the_edge_s_name(self, platform):
        edge = platform.edge()
        upstream = platform.run(FIRST)
        for _ in range(3):
            platform.everything()
        (reaction,) = platform.rows(Reaction)
        assert (reaction.state, reaction.occasion) == ("launched", upstream)
        assert platform.started() == {upstream, reaction.run_id}
        run = platform.session.get_one(Run, reaction.run_id)
        assert (run.trigger, run.actor_name) == ("dependency", f"dependency {edge}")
        assert run.targets == [{"type": "upload", "id": 2}]

    def test_each_success_counts(self, platform):
        platform.edge()
        runs = [platform.run(FIRST) for _ in range(2)]
        platform.everything()
        assert [reaction.occasion for reaction in platform.rows(Reaction)] == runs
        assert len(platform.started()) == 4

    def test_what_is_launched_can_launch_the_next(self, platform):
        platform.edge()
        platform.edge(upstream=("upload", 2), downstream=NOWHERE)
        platform.run(FIRST)
        platform.everything()
        (launched,) = platform.rows(Reaction)
        platform.flaky.statuses[launched.run_id] = "SUCCESS"
        platform.everything()
        _, then = platform.rows(Reaction)
        assert (then.occasion, then.state) == (launched.run_id, "skipped")
        assert "publish first" in then.reason


class TestNot:
    @pytest.mark.parametrize("status", ["FAILURE", "CANCELED", "STARTED"])
    def test_without_a_success(self, platform, status):
        platform.edge()
        platform.run(FIRST, status=status)
        platform.everything()
        assert platform.rows(Reaction) == []

    def test_of_another_target(self, platform):
        platform.edge(upstream=("upload", 2), downstream=("upload", 1))
        platform.run(FIRST)
        platform.everything()
        assert platform.rows(Reaction) == []

    def test_where_one_run_has_made_both(self, platform):
        platform.edge()
        platform.run(FIRST, SECOND)
        platform.everything()
        assert platform.rows(Reaction) == []

    @pytest.mark.parametrize(
        "values", [{"triggers_since": None}, {"triggers_since": utc_now() + timedelta(hours=1)}]
    )
    def test_before_somebody_wanted_it(self, platform, values):
        platform.edge(**values)
        platform.run(FIRST)
        platform.everything()
        assert platform.rows(Reaction) == []


class TestKilled:
    def test_before_the_launch(self, platform):
        platform.edge()
        upstream = platform.run(FIRST)
        platform.reconcile()
        assert platform.started() == {upstream}
        platform.react()
        platform.react()
        assert len(platform.started()) == 2

    def test_after_dagster_has_started_the_run(self, platform):
        platform.edge()
        platform.run(FIRST)
        platform.reconcile()
        platform.flaky.ending = "die_after_start"
        platform.react()
        assert len(platform.started()) == 2
        platform.flaky.ending = "answer"
        platform.make_due()
        platform.react()
        (pending,) = platform.rows(Reaction)
        assert pending.state == "pending", "nobody knows yet which run it is"
        platform.reconcile()
        platform.make_due()
        platform.react()
        (reaction,) = platform.rows(Reaction)
        assert reaction.state == "launched"
        assert reaction.run_id in platform.started()
        assert len(platform.started()) == 2
        run = platform.session.get_one(Run, reaction.run_id)
        assert run.trigger == "dependency"

    def test_before_dagster_was_asked(self, platform):
        platform.edge()
        platform.run(FIRST)
        platform.reconcile()
        platform.flaky.ending = "die_before_start"
        platform.react()
        platform.flaky.ending = "answer"
        wish = platform.rows(Launch)[-1]
        wish.created_at = utc_now() - LAUNCH_TIMEOUT - timedelta(seconds=1)
        platform.session.commit()
        platform.make_due()
        platform.react()
        assert [reaction.state for reaction in platform.rows(Reaction)] == ["launched"]
        assert len(platform.started()) == 2


class TestLater:
    def test_a_full_quota_is_waited_for(self, platform):
        platform.edge()
        platform.run(FIRST)
        platform.reconcile()
        platform.flaky.ending = "quota"
        platform.react()
        (reaction,) = platform.rows(Reaction)
        assert reaction.state == "pending"
        assert "as many as it may" in reaction.reason
        assert reaction.next_attempt_at > utc_now() + timedelta(seconds=60)
        platform.flaky.ending = "answer"
        platform.react()
        assert [reaction.state for reaction in platform.rows(Reaction)] == ["pending"]
        platform.make_due()
        platform.react()
        assert [reaction.state for reaction in platform.rows(Reaction)] == ["launched"]

    def test_not_for_ever(self, platform, monkeypatch):
        monkeypatch.setattr(launching, "GIVE_UP_AFTER", timedelta(seconds=30))
        platform.edge()
        platform.run(FIRST)
        platform.reconcile()
        platform.flaky.ending = "quota"
        platform.react()
        assert [reaction.state for reaction in platform.rows(Reaction)] == ["failed"]


class TestFreshness:
    """Two uploads before one model: it is launched when the other has succeeded lately, too."""

    @pytest.fixture(autouse=True)
    def _edges(self, platform):
        for number in (1, 2):
            platform.edge(upstream=("upload", number), downstream=NOWHERE, fresh_within_seconds=60)

    def reasons(self, platform):
        platform.reconcile()
        return [reaction.reason for reaction in platform.rows(Reaction)]

    def test_the_first_waits_for_the_second(self, platform):
        platform.run(FIRST)
        assert self.reasons(platform) == ["Not fresh within 60 s: upload 2."]
        platform.run(SECOND)
        assert self.reasons(platform)[1:] == [None], "it is to be launched"

    def test_a_success_of_long_ago_does_not_count(self, platform):
        platform.flaky.ages = {platform.run(FIRST): 90}
        assert self.reasons(platform) == ["The success is older than 60 s."]
        platform.run(SECOND)
        assert self.reasons(platform)[1:] == ["Not fresh within 60 s: upload 1."]


class TestRest:
    def test_an_edge_is_set_and_says_what_it_has_launched(self, platform, client, session):
        org_id = platform.member.org.id
        first, second = (make_upload(session, org_id, name=name) for name in ("One", "Two"))
        ends = {"upstream": ("upload", first.id), "downstream": ("upload", second.id)}
        edge = platform.edge(**ends, triggers_since=None)
        path = f"/api/v1/orgs/{client.org}/dependencies/{edge}"
        assert client.get(path).json()["runs_after_success"] is False
        body = {"runs_after_success": True, "fresh_within_seconds": 3600}
        changed = client.patch(path, json=body)
        assert changed.status_code == 200, changed.text
        assert {name: changed.json()[name] for name in body} == body
        since = platform.rows(Dependency)[0].triggers_since
        client.patch(path, json={"fresh_within_seconds": None, "runs_after_success": True})
        row = platform.rows(Dependency)[0]
        assert (row.triggers_since, row.fresh_within_seconds) == (since, None)
        enter_org(session, org_id)
        ReactionRepository(session, org_id).insert_unless_there(
            cause_type="dependency",
            cause_id=edge,
            occasion="a run",
            target_type="upload",
            target_id=second.id,
        )
        session.commit()
        (reaction,) = client.get(f"{path}/reactions").json()["data"]
        assert (reaction["state"], reaction["occasion"]) == ("pending", "a run")

    def test_a_restored_edge_launches_nothing(self, client, platform, session):
        org_id = platform.member.org.id
        first, second = (make_upload(session, org_id, name=name) for name in ("One", "Two"))
        edge = platform.edge(upstream=("upload", first.id), downstream=("upload", second.id))
        path = f"/api/v1/orgs/{client.org}/dependencies/{edge}"
        assert client.delete(path).status_code == 204
        assert client.post(f"{path}/restore").json()["runs_after_success"] is False
