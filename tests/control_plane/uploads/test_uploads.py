"""Uploads through the REST API, against a real source."""

from contextlib import closing

import pytest

from tests.control_plane.source_database import SourceDatabase, created, field_errors


@pytest.fixture(scope="module")
def source(source_cluster) -> SourceDatabase:
    database = SourceDatabase(source_cluster)
    database.create()
    return database


@pytest.fixture(scope="module")
def api(live_api):
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture(scope="module")
def connections(api, source):
    """A source and a destination."""
    target = source.connection(name="Warehouse 2", direction="destination")
    return {
        "source": created(api, "connections", source.connection()),
        "destination": created(api, "connections", target),
    }


@pytest.fixture
def body(connections):
    return {
        "name": "Airline",
        "source_connection_id": connections["source"]["id"],
        "destination_connection_id": connections["destination"]["id"],
        "config": {"mode": "full_database", "table_names": ["flights", "planes"]},
    }


@pytest.fixture
def upload(api, body):
    row = created(api, "uploads", body)
    yield row
    api.delete(url(api, row))


def url(api, row) -> str:
    return f"/orgs/{api.org}/uploads/{row['id']}"


def post(api, body, **config: object):
    return api.post(f"/orgs/{api.org}/uploads", json={**body, "config": config})


class TestCreate:
    def test_fills_in_the_defaults(self, api, upload):
        assert upload["slug"].startswith("airline")
        assert upload["config"] == {
            "mode": "full_database",
            "table_names": ["flights", "planes"],
            "source_schema": "public",
            "target_schema": "airline_source",
            "write_disposition": "append",
            "batch_size": 10_000,
        }
        assert api.get(url(api, upload)).json() == upload

    def test_names_tables_that_the_source_does_not_have(self, api, body):
        answer = post(api, body, mode="full_database", table_names=["flights", "flihgts"])
        assert field_errors(answer) == {
            "/config/table_names/1": "unknown table 'flihgts'; close to it: 'flights'"
        }
        assert "'Airline source'" in answer.json()["detail"]

    def test_looks_again_for_a_table_that_is_new(self, api, body, source, upload):
        source.execute("create table crews (id integer)")
        config = {"mode": "single_table", "table": "crews", "target_table": "crew"}
        answer = post(api, {**body, "name": "Crews"}, **config)
        source.execute("drop table crews")
        assert answer.status_code == 201
        api.delete(url(api, answer.json()))

    @pytest.mark.parametrize(
        ("config", "pointer", "words"),
        [
            ({"mode": "query", "query": "select 1"}, "/config/mode", "not known yet"),
            ({"mode": "full_database", "source_schema": "hr"}, "/config/source_schema", "'hr'"),
            (
                {"mode": "single_table", "table": "flights", "incremental": {"cursor": "id"}},
                "/config/incremental/cursor",
                "unknown column of table 'flights' 'id'",
            ),
            (
                {"mode": "single_table", "table": "planes", "write_disposition": "merge"},
                "/config/primary_key",
                "'merge' needs a primary key",
            ),
        ],
    )
    def test_names_the_field(self, api, body, config, pointer: str, words: str):
        assert words in field_errors(post(api, body, **config))[pointer]

    def test_checks_the_direction_of_both_connections(self, api, body):
        swapped = {
            **body,
            "source_connection_id": body["destination_connection_id"],
            "destination_connection_id": body["source_connection_id"],
        }
        detail = field_errors(api.post(f"/orgs/{api.org}/uploads", json=swapped))
        assert "'destination' and cannot be a source" in detail["/source_connection_id"]
        onto_source = {**body, "destination_connection_id": body["source_connection_id"]}
        detail = field_errors(api.post(f"/orgs/{api.org}/uploads", json=onto_source))
        assert "cannot be a destination" in detail["/destination_connection_id"]

    def test_another_orgs_connection_does_not_exist(self, live_api, body):
        with closing(live_api.sign_up()) as stranger:
            answer = stranger.post(f"/orgs/{stranger.org}/uploads", json=body)
            detail = field_errors(answer)["/source_connection_id"]
            assert detail == f"There is no connection {body['source_connection_id']}."

    def test_names_a_source_that_cannot_be_read(self, api, body, source):
        wrong = created(
            api, "connections", source.connection(name="Wrong", config={"password": "canary-no"})
        )
        answer = api.post(
            f"/orgs/{api.org}/uploads", json={**body, "source_connection_id": wrong["id"]}
        )
        assert "connection.auth" in field_errors(answer)["/source_connection_id"]
        assert "canary-no" not in answer.text

    def test_refuses_a_taken_name(self, api, body, upload):
        answer = api.post(f"/orgs/{api.org}/uploads", json=body)
        assert answer.status_code == 409
        assert answer.json()["errors"] == [{"pointer": "/name", "detail": "is taken"}]

    def test_refuses_a_table_that_another_upload_loads(self, api, body, upload):
        answer = post(api, {**body, "name": "Again"}, mode="single_table", table="planes")
        assert answer.status_code == 409
        assert answer.json()["code"] == "target_conflict"
        assert "'airline_source.planes'" in answer.json()["detail"]

    def test_refuses_to_load_a_table_onto_itself(self, api, source):
        both = created(api, "connections", source.connection(name="Both ways", direction="both"))
        answer = api.post(
            f"/orgs/{api.org}/uploads",
            json={
                "name": "Loop",
                "source_connection_id": both["id"],
                "destination_connection_id": both["id"],
                "config": {"mode": "single_table", "table": "planes", "target_schema": "public"},
            },
        )
        assert "onto itself" in field_errors(answer)["/config/target_schema"]


class TestUpdate:
    def test_replaces_single_keys(self, api, upload):
        config = {"write_disposition": "replace", "batch_size": 500}
        answer = api.patch(url(api, upload), json={"config": config}).json()
        assert answer["config"] == {**upload["config"], **config}

    def test_null_removes_a_key(self, api, upload):
        answer = api.patch(url(api, upload), json={"config": {"table_names": None}}).json()
        assert "table_names" not in answer["config"]

    def test_a_mode_replaces_the_whole(self, api, upload):
        config = {"mode": "single_table", "table": "flights", "target_schema": "other"}
        answer = api.patch(url(api, upload), json={"config": config}).json()
        assert answer["config"]["table"] == "flights"
        assert "table_names" not in answer["config"]

    def test_the_slug_stays(self, api, upload):
        answer = api.patch(url(api, upload), json={"name": "Renamed"}).json()
        assert (answer["name"], answer["slug"]) == ("Renamed", upload["slug"])

    def test_checks_what_is_new(self, api, upload):
        answer = api.patch(url(api, upload), json={"config": {"table_names": ["plane"]}})
        assert "'planes'" in field_errors(answer)["/config/table_names/0"]
        assert api.get(url(api, upload)).json() == upload


class TestDelete:
    def test_keeps_the_connection_until_then(self, api, body, upload):
        connection = f"/orgs/{api.org}/connections/{body['source_connection_id']}"
        answer = api.delete(connection)
        assert answer.status_code == 409
        assert "upload 'Airline'" in answer.json()["detail"]
        assert api.delete(url(api, upload)).status_code == 204
        assert api.get(url(api, upload)).status_code == 404


class TestList:
    def test_shows_the_orgs_own(self, api, live_api, upload):
        assert upload in api.get(f"/orgs/{api.org}/uploads").json()["data"]
        with closing(live_api.sign_up()) as stranger:
            assert stranger.get(f"/orgs/{stranger.org}/uploads").json()["data"] == []
            assert stranger.get(url(stranger, upload)).status_code == 404
            assert stranger.patch(url(stranger, upload), json={"name": "x"}).status_code == 404
            assert stranger.delete(url(stranger, upload)).status_code == 404


class TestRestore:
    def test_is_compared_with_the_source_again(self, api, body, source):
        source.execute("create table short_lived (a integer)")
        names = {"mode": "full_database", "table_names": ["short_lived"]}
        row = created(api, "uploads", {**body, "name": "Short", "config": names})
        assert api.delete(url(api, row)).status_code == 204
        source.execute("drop table short_lived")
        sync = f"/orgs/{api.org}/connections/{body['source_connection_id']}/metadata/sync"
        assert api.post(sync).status_code == 200
        answer = api.post(f"{url(api, row)}/restore")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "'Short' cannot be restored" in answer.json()["detail"]
        assert "short_lived" in answer.json()["detail"]
        source.execute("create table short_lived (a integer)")
        answer = api.post(f"{url(api, row)}/restore")
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
        assert api.delete(url(api, row)).status_code == 204
