"""No change is lost: versions are compared, and rows are locked between reading and writing."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from control_plane.core.clock import utc_now
from control_plane.routes import list_operations
from control_plane.uploads.placement import Placement
from control_plane.uploads.repository import UploadRepository
from tests.control_plane.tenancy.resources import KINDS, Kind, inside, make_schedule
from tests.factories.targets import make_connection, make_tables, make_upload

CHANGES = 24
CLIENTS = 8
CHANGEABLE = [kind for kind in KINDS.values() if kind.change]


@pytest.fixture(scope="module")
def api(live_api):
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture(scope="module")
def factory(live_api):
    return live_api.application.state.session_factory


def made(api, factory, kind: Kind) -> str:
    """Makes a resource and returns its URL."""
    with inside(factory, api.org_id) as session:
        row_id = kind.make(session, api.org_id).id
    return f"/orgs/{api.org}/{kind.collection}/{row_id}"


def entries(api, url: str, action: str) -> list[dict[str, Any]]:
    """Returns the audit entries of a resource, oldest first."""
    row_id = url.rpartition("/")[2]
    kind = next(kind for kind in KINDS.values() if f"/{kind.collection}/" in url)
    found, cursor = [], None
    while True:
        params = {"action": action, "resource_type": kind.resource_type, "limit": 100}
        page = api.get(
            f"/orgs/{api.org}/audit", params={**params, **({"cursor": cursor} if cursor else {})}
        ).json()
        found += [entry for entry in page["data"] if entry["resource_id"] == row_id]
        cursor = page["next_cursor"]
        if cursor is None:
            return found[::-1]


def body_of(kind: Kind, url: str, n: int) -> dict[str, Any]:
    """Returns the body of the n-th change of a resource."""
    assert kind.change is not None
    return kind.change(url.rpartition("/")[2], n)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
class TestETag:
    def test_every_answer_about_one_has_it(self, api, factory, kind: Kind):
        answer = api.get(made(api, factory, kind))
        assert answer.headers["ETag"] == '"1"'
        assert answer.json()["version"] == 1

    def test_a_delete_honours_if_match(self, api, factory, kind: Kind):
        url = made(api, factory, kind)
        answer = api.delete(url, headers={"If-Match": '"2"'})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
        assert 'expects version "2", and it is version "1" now' in answer.json()["detail"]
        assert api.delete(url, headers={"If-Match": "1"}).status_code == 400
        assert api.delete(url, headers={"If-Match": 'W/"1"'}).status_code == 412
        assert entries(api, url, "delete") == []
        assert api.delete(url, headers={"If-Match": '"1"'}).status_code == 204

    def test_deleting_at_the_same_time_happens_once(self, api, factory, kind: Kind):
        url = made(api, factory, kind)
        answers = at_once([lambda: api.delete(url)] * CLIENTS)
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [204] + [404] * (CLIENTS - 1)
        assert len(entries(api, url, "delete")) == 1


@pytest.mark.parametrize("kind", CHANGEABLE, ids=lambda kind: kind.resource_type)
class TestChanges:
    def test_a_change_raises_the_version_and_one_without_effect_does_not(
        self, api, factory, kind: Kind
    ):
        url = made(api, factory, kind)
        body = body_of(kind, url, 1)
        for _ in range(2):
            answer = api.patch(url, json=body)
            assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
        assert api.get(url).headers["ETag"] == '"2"'
        assert len(entries(api, url, "update")) == 1

    def test_only_one_of_those_who_saw_the_same_version_changes_it(self, api, factory, kind: Kind):
        url = made(api, factory, kind)

        def change(n: int):
            return lambda: api.patch(url, json=body_of(kind, url, n), headers={"If-Match": '"1"'})

        answers = at_once([change(n) for n in range(CLIENTS)])
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * (CLIENTS - 1)
        assert api.get(url).json()["version"] == 2

    def test_changes_at_the_same_time_come_one_after_the_other(self, api, factory, kind: Kind):
        url = made(api, factory, kind)

        def change(n: int):
            return lambda: api.patch(url, json=body_of(kind, url, n))

        answers = at_once([change(n) for n in range(1, CHANGES + 1)])
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(answer.json()["version"] for answer in answers) == list(range(2, CHANGES + 2))
        log = entries(api, url, "update")
        assert len(log) == CHANGES
        for earlier, later in itertools.pairwise(log):
            assert later["old_values"] == earlier["new_values"]
        final = api.get(url).json()
        assert final["version"] == CHANGES + 1
        for name, value in log[-1]["new_values"].items():
            assert name not in body_of(kind, url, 1) or final[name] == value


class TestSlowSaves:
    @pytest.fixture
    def url(self, api, factory):
        with inside(factory, api.org_id) as session:
            source = make_connection(session, api.org_id)
            make_tables(session, source)
            upload = make_upload(session, api.org_id, source_connection_id=source.id)
        return f"/orgs/{api.org}/uploads/{upload.id}"

    def test_what_was_checked_against_another_version_is_409(
        self, api, factory, url, monkeypatch: pytest.MonkeyPatch
    ):
        """While one save is being checked, another one goes through, and the first one gives up."""
        checking, may_go_on = threading.Event(), threading.Event()
        original = Placement.check

        def slow(self, *arguments):
            checking.set()
            assert may_go_on.wait(20)
            return original(self, *arguments)

        monkeypatch.setattr(Placement, "check", slow)
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(api.patch, url, json={"config": {"batch_size": 500}})
            assert checking.wait(20)
            started_at = time.monotonic()
            assert api.patch(url, json={"name": "Meanwhile"}).status_code == 200
            assert time.monotonic() - started_at < 5, "the slow save holds no lock"
            may_go_on.set()
            answer = late.result()
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "was changed by somebody else while this change" in answer.json()["detail"]
        row = api.get(url).json()
        assert (row["name"], row["config"]["batch_size"]) == ("Meanwhile", 10_000)
        assert len(entries(api, url, "update")) == 1

    def test_with_if_match_it_is_412(self, api, url):
        headers = {"If-Match": '"9"'}
        answer = api.patch(url, json={"config": {"batch_size": 500}}, headers=headers)
        assert answer.status_code == 412


class TestReferences:
    def test_nothing_is_made_for_what_is_being_deleted(self, api, factory):
        with inside(factory, api.org_id) as session:
            upload = make_upload(session, api.org_id)
        body = {"cron": "0 6 * * *", "target_type": "upload", "target_id": upload.id}
        with inside(factory, api.org_id) as session, ThreadPoolExecutor(1) as pool:
            row = UploadRepository(session, api.org_id).lock(upload.id, to_delete=True)
            row.deleted_at = utc_now()
            session.flush()
            waiting = pool.submit(api.post, f"/orgs/{api.org}/schedules", json=body)
            time.sleep(0.5)
            assert not waiting.done(), "waits for whoever deletes its target"
            session.commit()
            answer = waiting.result()
        assert answer.status_code == 409
        assert f"The upload '{upload.name}' is deleted" in answer.json()["detail"]

    def test_nothing_is_deleted_for_which_something_is_being_made(self, api, factory):
        with inside(factory, api.org_id) as session:
            upload = make_upload(session, api.org_id)
        url = f"/orgs/{api.org}/uploads/{upload.id}"
        with inside(factory, api.org_id) as session, ThreadPoolExecutor(2) as pool:
            UploadRepository(session, api.org_id).require_live(upload.id, hold=True)
            # Who changes the upload does not wait for who refers to it.
            changed = pool.submit(api.patch, url, json={"name": f"Other {upload.id}"})
            assert changed.result(5).status_code == 200
            waiting = pool.submit(api.delete, url)
            time.sleep(0.5)
            assert not waiting.done(), "waits for whoever refers to it"
            make_schedule(session, api.org_id, target_id=upload.id)
            assert waiting.result().status_code == 409


def test_every_resource_that_has_versions_is_tested_here():
    restorable = {
        operation.path.split("/")[5]
        for operation in list_operations()
        if operation.path.startswith("/api/v1/orgs/{org}/") and operation.path.endswith("/restore")
    }
    assert restorable == {kind.collection for kind in KINDS.values()}
