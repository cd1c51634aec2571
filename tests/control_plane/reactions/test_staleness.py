"""What is stale is launched, again where that failed, and not for ever; or it is an alert."""

from datetime import timedelta

import pytest

from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.freshness.models import FreshnessPolicy
from control_plane.manifest.service import get_current_manifest
from control_plane.reactions import staleness
from control_plane.reactions.launching import ReactionLauncher
from control_plane.reactions.models import Reaction
from control_plane.reactions.staleness import StalenessWatch
from control_plane.runs.models import Run
from tests.control_plane.reactions.test_successes import FIRST, Platform

LONG_AGO = 1_700_000_000.0


@pytest.fixture
def watched(factory, flaky, dagster_client, session, member, monkeypatch):
    monkeypatch.setattr(staleness, "FIRST_PAUSE", timedelta(0))
    return Watched(factory, flaky, dagster_client, session, member)


class Watched(Platform):
    """An org whose first upload is watched."""

    def policy(self, reaction, **values):
        enter_org(self.session, self.member.org.id)
        row = FreshnessPolicy(
            org_id=self.member.org.id,
            target_type="upload",
            target_id=1,
            max_age_seconds=60,
            timezone="UTC",
            severity="error",
            reaction=reaction,
            **values,
        )
        self.session.add(row)
        self.session.commit()
        return row.id

    def becomes(self, status, at=LONG_AGO):
        enter_org(self.session, self.member.org.id)
        location = get_current_manifest(self.session, self.member.org.id).location
        self.flaky.freshness = {location.uploads[0].tables[0].asset_key: (status, at)}

    def look(self):
        launcher = ReactionLauncher(self.factory, self.dagster)
        StalenessWatch(self.factory, self.dagster, launcher.note).run_once()
        launcher.run_once()

    def end(self, status):
        for run_id in self.started():
            self.flaky.statuses.setdefault(run_id, status)
        self.reconcile()

    def states(self):
        return [reaction.state for reaction in self.rows(Reaction)]


class TestLaunch:
    @pytest.mark.parametrize("status", ["DEGRADED", "WARNING"])
    def test_what_is_overdue_is_launched_once(self, watched, status):
        policy = watched.policy("launch")
        watched.becomes(status)
        for _ in range(3):
            watched.look()
        (reaction,) = watched.rows(Reaction)
        assert reaction.state == "launched"
        run = watched.session.get_one(Run, reaction.run_id)
        assert (run.trigger, run.actor_name) == ("freshness", f"freshness {policy}")
        assert len(watched.started()) == 1

    @pytest.mark.parametrize("status", ["HEALTHY", "UNKNOWN"])
    def test_what_is_not_is_left_alone(self, watched, status):
        watched.policy("launch")
        watched.becomes(status)
        watched.look()
        assert watched.states() == []

    def test_nobody_wants_it(self, watched):
        watched.policy("none")
        watched.becomes("DEGRADED")
        watched.look()
        assert watched.states() == []

    def test_again_after_a_failed_one_up_to_the_ceiling(self, watched):
        watched.policy("launch", maximum_launches=2)
        watched.becomes("DEGRADED")
        for number in (1, 2):
            watched.look()
            watched.look()
            assert watched.states() == ["launched"] * number
            # A run that "succeeds" without making it fresh has not helped either.
            watched.end("CANCELED" if number == 1 else "SUCCESS")
        for _ in range(3):
            watched.look()
        assert watched.states() == ["launched", "launched", "alerted"]
        assert "Not fresh after 2 launches" in watched.rows(Reaction)[-1].reason
        assert len(watched.started()) == 2

    def test_not_at_once_again(self, watched, monkeypatch):
        monkeypatch.setattr(staleness, "FIRST_PAUSE", timedelta(minutes=1))
        watched.policy("launch")
        watched.becomes("DEGRADED")
        watched.look()
        watched.end("CANCELED")
        watched.look()
        assert watched.states() == ["launched"]
        for run in watched.rows(Run):
            run.ended_at = utc_now() - timedelta(seconds=61)
        watched.session.commit()
        watched.look()
        assert watched.states() == ["launched", "launched"]

    def test_made_anew_and_stale_again_is_another_time(self, watched):
        watched.policy("launch", maximum_launches=1)
        watched.becomes("DEGRADED")
        watched.look()
        watched.end("SUCCESS")
        watched.becomes("HEALTHY", LONG_AGO + 60)
        watched.look()
        watched.becomes("DEGRADED", LONG_AGO + 60)
        watched.look()
        assert watched.states() == ["launched", "launched"]

    def test_what_is_being_made_is_not_launched_beside(self, watched):
        watched.policy("launch")
        watched.becomes("DEGRADED")
        watched.run(FIRST, status="STARTED")
        watched.look()
        assert watched.states() == []


class TestAlert:
    def test_is_one_for_each_time(self, watched, client):
        policy = watched.policy("alert")
        watched.becomes("DEGRADED")
        for _ in range(3):
            watched.look()
        path = f"/api/v1/orgs/{client.org}/freshness-policies/{policy}/reactions"
        (reaction,) = client.get(path).json()["data"]
        assert (reaction["state"], reaction["reason"]) == ("alerted", "Not fresh: s1.t.")
        assert watched.started() == set()
        watched.becomes("DEGRADED", LONG_AGO + 60)
        watched.look()
        assert watched.states() == ["alerted", "alerted"]


class TestStates:
    @pytest.mark.parametrize(
        ("said", "state"),
        [("HEALTHY", "fresh"), ("WARNING", "warn"), ("DEGRADED", "stale"), ("UNKNOWN", "unknown")],
    )
    def test_are_what_the_daemon_has_found(self, app, watched, client, said, state):
        policy = watched.policy("none")
        watched.becomes(said)
        app.state.dagster = watched.dagster
        (asset,) = client.get(f"/api/v1/orgs/{client.org}/freshness").json()["data"]
        assert (asset["state"], asset["policy_id"]) == (state, policy)
        assert asset["last_loaded_at"] == "2023-11-14T22:13:20Z"

    def test_nothing_is_published(self, client):
        assert client.get(f"/api/v1/orgs/{client.org}/freshness").status_code == 409
