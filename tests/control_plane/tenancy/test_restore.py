"""What was deleted softly is listed for admins, newest first, and comes back when they say so."""

import pytest
from sqlalchemy import text

from control_plane.tenancy.secrets import OrgSecrets
from tests.control_plane.tenancy.resources import (
    KINDS,
    Kind,
    make_dependency,
    make_policy,
    make_schedule,
)
from tests.factories.access import make_member
from tests.factories.targets import make_connection, make_tables, make_transformation, make_upload

# A transformation is checked by dbt, in another process: tests/control_plane/transformations.
IN_PROCESS = [kind for kind in KINDS.values() if kind.resource_type != "transformation"]


@pytest.fixture
def org_id(member) -> int:
    return member.org.id


def url(client, collection: str, row) -> str:
    return f"/api/v1/orgs/{client.org}/{collection}/{row.id}"


def restore(client, collection: str, row):
    return client.post(f"{url(client, collection, row)}/restore")


def deleted(client, collection: str, row):
    assert client.delete(url(client, collection, row)).status_code == 204
    return row


def gone(client, **params: object):
    answer = client.get(f"/api/v1/orgs/{client.org}/deleted", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", IN_PROCESS, ids=lambda kind: kind.resource_type)
class TestEveryKind:
    def test_comes_back_with_a_higher_version_on_the_record(
        self, client, session, org_id, kind: Kind
    ):
        row = kind.make(session, org_id)
        before = client.get(url(client, kind.collection, row)).json()
        deleted(client, kind.collection, row)
        answer = restore(client, kind.collection, row)
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
        changed = {"version", "updated_at", "is_active"}
        assert {k: v for k, v in answer.json().items() if k not in changed} == {
            k: v for k, v in before.items() if k not in changed
        }
        assert client.get(url(client, kind.collection, row)).json() == answer.json()
        statement = text(
            "SELECT old_values, new_values FROM audit_entries"
            " WHERE action = 'restore' AND resource_type = :t AND resource_id = :id"
        )
        entry = session.execute(statement, {"t": kind.resource_type, "id": str(row.id)}).one()
        assert entry.old_values is None
        assert entry.new_values

    def test_is_not_restored_while_it_lives(self, client, session, org_id, kind: Kind):
        row = kind.make(session, org_id)
        answer = restore(client, kind.collection, row)
        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state")

    def test_is_listed_once_it_is_deleted(self, client, session, org_id, kind: Kind):
        row = deleted(client, kind.collection, kind.make(session, org_id))
        found = gone(client, resource_type=kind.resource_type)["data"]
        assert [(one["resource_type"], one["id"]) for one in found] == [
            (kind.resource_type, row.id)
        ]
        assert found[0]["name"]
        assert found[0]["deleted_at"]
        restore(client, kind.collection, row)
        assert gone(client)["data"] == []

    def test_another_orgs_is_like_none(self, client, session, vault, org_id, kind: Kind):
        from_elsewhere = kind.make(session, make_member(session, vault).org.id)
        from_elsewhere.deleted_at = from_elsewhere.created_at
        session.commit()
        answers = [restore(client, kind.collection, from_elsewhere).json()]
        answers.append(
            client.post(f"/api/v1/orgs/{client.org}/{kind.collection}/999999/restore").json()
        )
        for answer, row_id in zip(answers, (from_elsewhere.id, 999999), strict=True):
            assert answer["status"] == 404
            assert answer["detail"].endswith(f" {row_id}.")
        assert gone(client)["data"] == []

    @pytest.mark.caller(role="editor")
    def test_only_admins(self, client, session, org_id, kind: Kind):
        row = deleted(client, kind.collection, kind.make(session, org_id))
        assert restore(client, kind.collection, row).status_code == 403
        assert client.get(f"/api/v1/orgs/{client.org}/deleted").status_code == 403


class TestClashes:
    def test_a_live_row_with_the_same_name(self, client, session, org_id):
        row = deleted(client, "connections", make_connection(session, org_id, name="Shop"))
        make_connection(session, org_id, name="Shop", slug="shop_2")
        answer = restore(client, "connections", row)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "'Shop'" in answer.json()["detail"]

    def test_an_upload_with_the_same_name(self, client, session, org_id):
        row = deleted(client, "uploads", make_upload(session, org_id, name="Airline"))
        make_upload(session, org_id, name="Airline", slug="airline_2")
        answer = restore(client, "uploads", row)
        assert answer.status_code == 409
        assert "'Airline'" in answer.json()["detail"]

    def test_an_upload_into_a_table_that_another_one_loads_by_now(self, client, session, org_id):
        row = deleted(client, "uploads", make_upload(session, org_id))
        other = make_upload(
            session,
            org_id,
            source_connection_id=row.source_connection_id,
            destination_connection_id=row.destination_connection_id,
        )
        answer = restore(client, "uploads", row)
        assert (answer.status_code, answer.json()["code"]) == (409, "target_conflict")
        assert other.name in answer.json()["detail"]

    def test_a_policy_for_what_has_one_by_now(self, client, session, org_id):
        row = deleted(client, "freshness-policies", make_policy(session, org_id))
        make_policy(session, org_id, target_id=row.target_id)
        answer = restore(client, "freshness-policies", row)
        assert answer.status_code == 409
        assert "has a freshness policy already" in answer.json()["detail"]

    def test_an_edge_that_exists_by_now(self, client, session, org_id):
        row = deleted(client, "dependencies", make_dependency(session, org_id))
        make_dependency(
            session, org_id, upstream_id=row.upstream_id, downstream_id=row.downstream_id
        )
        answer = restore(client, "dependencies", row)
        assert answer.status_code == 409
        assert "already" in answer.json()["detail"]

    def test_an_edge_that_would_close_a_circle_by_now(self, client, session, org_id):
        row = deleted(client, "dependencies", make_dependency(session, org_id))
        make_dependency(
            session, org_id, upstream_id=row.downstream_id, downstream_id=row.upstream_id
        )
        answer = restore(client, "dependencies", row)
        assert (answer.status_code, answer.json()["code"]) == (409, "circular_dependency")


class TestReferences:
    @pytest.mark.parametrize("side", ["source_connection_id", "destination_connection_id"])
    def test_an_upload_of_a_deleted_connection(self, client, session, org_id, side: str):
        destination = make_connection(session, org_id, direction="destination")
        source = make_connection(session, org_id)
        make_tables(session, source)
        ids = {"source_connection_id": source.id, "destination_connection_id": destination.id}
        row = deleted(client, "uploads", make_upload(session, org_id, **ids))
        missing = source if side == "source_connection_id" else destination
        deleted(client, "connections", missing)
        answer = restore(client, "uploads", row)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert answer.json()["detail"] == (
            f"The connection '{missing.name}' is deleted; restore it first."
        )
        assert restore(client, "connections", missing).status_code == 200
        assert restore(client, "uploads", row).status_code == 200

    @pytest.mark.parametrize("kind", ["schedule", "freshness_policy"])
    def test_what_names_a_deleted_target(self, client, session, org_id, kind: str):
        upload = make_upload(session, org_id)
        row = KINDS[kind].make(session, org_id, target_id=upload.id)
        deleted(client, KINDS[kind].collection, row)
        deleted(client, "uploads", upload)
        answer = restore(client, KINDS[kind].collection, row)
        assert answer.status_code == 409
        assert f"The upload '{upload.name}' is deleted" in answer.json()["detail"]

    def test_an_edge_at_a_deleted_target(self, client, session, org_id):
        model = make_transformation(session, org_id)
        row = make_dependency(session, org_id)
        row.downstream_type, row.downstream_id = "transformation", model.id
        session.commit()
        deleted(client, "dependencies", row)
        deleted(client, "transformations", model)
        answer = restore(client, "dependencies", row)
        assert answer.status_code == 409
        assert f"The transformation '{model.name}' is deleted" in answer.json()["detail"]


def test_a_schedule_comes_back_inactive(client, session, org_id):
    row = deleted(client, "schedules", make_schedule(session, org_id))
    assert restore(client, "schedules", row).json()["is_active"] is False


def test_a_connection_comes_back_with_its_secrets(client, session, org_id, vault):
    row = make_connection(session, org_id)
    OrgSecrets(session, org_id, vault).store(row, {"password": "hunter2"})
    session.commit()
    deleted(client, "connections", row)
    answer = restore(client, "connections", row)
    assert answer.json()["secrets_set"] == ["password"]
    session.refresh(row)
    assert OrgSecrets(session, org_id, vault).read(row) == {"password": "hunter2"}


class TestList:
    def test_newest_first_across_the_kinds_in_stable_pages(self, client, session, org_id):
        rows = [kind.make(session, org_id) for _ in range(3) for kind in IN_PROCESS]
        kinds = [kind for _ in range(3) for kind in IN_PROCESS]
        for row, kind in zip(rows, kinds, strict=True):
            deleted(client, kind.collection, row)
        # Several at the very same time: the order has to be whole.
        session.execute(
            text("UPDATE schedules SET deleted_at = now() WHERE deleted_at IS NOT NULL")
        )
        session.execute(
            text("UPDATE connections SET deleted_at = now() WHERE deleted_at IS NOT NULL")
        )
        session.commit()
        whole = gone(client, limit=100)["data"]
        assert len(whole) == len(rows)
        times = [one["deleted_at"] for one in whole]
        assert times == sorted(times, reverse=True)
        paged, cursor = [], None
        while True:
            page = gone(client, limit=2, **({"cursor": cursor} if cursor else {}))
            paged += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            assert len(page["data"]) == 2
        assert paged == whole

    def test_one_statement_whatever_it_lists(self, client, session, org_id, statements):
        make_connection(session, org_id)
        with statements() as seen:
            gone(client)
        assert sum("deleted_at IS NOT NULL" in statement for statement in seen) == 1

    @pytest.mark.parametrize(
        "cursor",
        ["x", "WzFd", "WyJ4IiwgInVwbG9hZCIsIDFd", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsICJ4IiwgMV0"],
    )
    def test_refuses_a_cursor_of_something_else(self, client, cursor: str):
        answer = client.get(f"/api/v1/orgs/{client.org}/deleted", params={"cursor": cursor})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/cursor"

    def test_refuses_an_unknown_kind(self, client):
        answer = client.get(f"/api/v1/orgs/{client.org}/deleted", params={"resource_type": "user"})
        assert answer.status_code == 422
