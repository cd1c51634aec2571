"""Transformations through the REST API: dbt itself refuses what cannot work."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from control_plane.core.database import transaction
from tests.control_plane.source_database import SourceDatabase, created, field_errors
from tests.factories.targets import make_transformation


@pytest.fixture(scope="module")
def database(source_cluster) -> SourceDatabase:
    """Source and destination in one."""
    made = SourceDatabase(source_cluster)
    made.create()
    return made


@pytest.fixture(scope="module")
def api(live_api):
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture(scope="module")
def connection(api, database):
    body = database.connection(name="Own warehouse", direction="both")
    return created(api, "connections", body)


@pytest.fixture(scope="module")
def upload(api, connection):
    body = {
        "name": "Airline",
        "source_connection_id": connection["id"],
        "destination_connection_id": connection["id"],
        "config": {"mode": "full_database", "target_schema": "airline"},
    }
    return created(api, "uploads", body)


@pytest.fixture
def body(connection, upload):
    return {
        "name": "stg_flights",
        "connection_id": connection["id"],
        "schema": "staging",
        "sql": "select flight_id, carrier from {{ source('airline', 'flights') }}",
        "materialization": "view",
        "tests": [{"type": "not_null", "column": "flight_id"}],
    }


@pytest.fixture
def model(api, body):
    row = created(api, "transformations", body)
    yield row
    api.delete(url(api, row))


def url(api, row) -> str:
    return f"/orgs/{api.org}/transformations/{row['id']}"


def post(api, body, **values: object):
    return api.post(f"/orgs/{api.org}/transformations", json={**body, **values})


class TestCreate:
    def test_a_model_over_an_upload(self, api, model, body):
        assert {key: model[key] for key in body if key != "tests"} == {
            key: value for key, value in body.items() if key != "tests"
        }
        assert model["tests"][0]["severity"] == "error"
        assert api.get(url(api, model)).json() == model

    def test_a_model_over_a_model(self, api, model, body):
        sql = "select carrier, count(*) as flights from {{ ref('stg_flights') }} group by 1"
        test = {"type": "relationships", "column": "carrier", "to": "stg_flights"}
        answer = post(api, body, name="mart_carriers", schema="marts", sql=sql, tests=[test])
        assert answer.status_code == 201
        used = api.delete(url(api, model))
        assert used.status_code == 409
        assert "transformation 'mart_carriers'" in used.json()["detail"]
        assert api.delete(url(api, answer.json())).status_code == 204

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("selct flight_id from flights", "selct"),
            ("select 1 from {{ ref('nowhere') }}", "nowhere"),
            ("{% materialization x, default %}{% endmaterialization %}", "materialization"),
        ],
    )
    def test_shows_what_dbt_says_of_a_bad_model(self, api, body, sql: str, words: str):
        answer = post(api, body, sql=sql)
        assert words in field_errors(answer)["/sql"]
        listed = api.get(f"/orgs/{api.org}/transformations").json()["data"]
        assert "stg_flights" not in [row["name"] for row in listed]

    @pytest.mark.parametrize(
        ("values", "pointer", "words"),
        [
            ({"name": "stg flights"}, "/name", "a letter or '_' first"),
            ({"schema": "Staging"}, "/schema", "'staging'"),
            ({"schema": "airline", "name": "Flights"}, "/name", "an upload loads the table"),
            ({"materialization": "magic"}, "/materialization", "'view'"),
            ({"connection_id": 999_999}, "/connection_id", "There is no connection 999999."),
            (
                {"tests": [{"type": "relationships", "column": "carrier", "to": "airline.trains"}]},
                "/tests/0/to",
                "neither a model",
            ),
        ],
    )
    def test_names_the_field(self, api, body, values, pointer: str, words: str):
        assert words in field_errors(post(api, body, **values))[pointer]

    def test_needs_a_destination(self, api, body, database):
        source = created(api, "connections", database.connection(name="Only a source"))
        answer = post(api, body, connection_id=source["id"])
        assert "'source'" in field_errors(answer)["/connection_id"]

    def test_waits_for_the_managed_warehouse(self, api, body):
        answer = post(api, {**body, "connection_id": None})
        assert answer.status_code == 503
        assert "managed warehouse is not ready" in answer.json()["detail"]

    def test_refuses_a_name_that_differs_in_case_only(self, api, model, body):
        answer = post(api, body, name="STG-Flights")
        assert answer.status_code == 409
        assert "'stg_flights' already" in answer.json()["detail"]


class TestUpdate:
    def test_changes_and_keeps(self, api, model):
        answer = api.patch(url(api, model), json={"materialization": "table"}).json()
        assert answer["materialization"] == "table"
        assert answer["sql"] == model["sql"]

    def test_has_dbt_read_the_new_text(self, api, model):
        answer = api.patch(url(api, model), json={"sql": "select from {{ ref('gone') }}"})
        assert "gone" in field_errors(answer)["/sql"]
        assert api.get(url(api, model)).json() == model

    def test_a_new_name_breaks_no_other_model(self, api, model, body):
        other = created(
            api,
            "transformations",
            {**body, "name": "mart", "sql": "select * from {{ ref('stg_flights') }}", "tests": []},
        )
        answer = api.patch(url(api, model), json={"name": "stg_flight"})
        assert "stg_flights" in field_errors(answer)["/name"]
        assert api.delete(url(api, other)).status_code == 204

    def test_a_model_that_is_broken_already_is_in_nobodys_way(self, api, live_api, model, body):
        with transaction(live_api.application.state.session_factory, api.org_id) as session:
            broken = make_transformation(
                session,
                api.org_id,
                connection_id=body["connection_id"],
                sql="select * from {{ source('airline', 'sold') }}",
            )
        answer = api.patch(url(api, model), json={"sql": "select 1 as flight_id"})
        assert answer.status_code == 200, answer.text
        answer = api.patch(url(api, model), json={"sql": "selct 1 as flight_id"})
        assert "selct" in field_errors(answer)["/sql"]
        assert api.delete(f"/orgs/{api.org}/transformations/{broken.id}").status_code == 204


class TestPreview:
    def post(self, api, connection, sql: str, **values: object):
        body = {"sql": sql, "connection_id": connection["id"], **values}
        return api.post(f"/orgs/{api.org}/transformations/preview", json=body)

    def test_first_rows(self, api, connection):
        answer = self.post(api, connection, "select carrier from flights order by 1", limit=1)
        body = answer.json()
        assert [column["name"] for column in body["columns"]] == ["carrier"]
        assert body["rows"] == [["B6"]]

    def test_compiles_what_models_use(self, api, connection, upload, database):
        database.execute("create schema airline; create table airline.planes as select 1 as a")
        answer = self.post(api, connection, "select a from {{ source('airline', 'planes') }}")
        assert answer.json()["rows"] == [[1]]
        assert "{{" not in answer.json()["compiled_sql"]

    def test_says_what_the_warehouse_says(self, api, connection):
        detail = field_errors(self.post(api, connection, "select nothing from flights"))["/sql"]
        assert "nothing" in detail

    def test_changes_nothing(self, api, connection):
        assert "/sql" in field_errors(self.post(api, connection, "delete from flights"))

    def test_a_warehouse_that_is_away(self, api, database):
        wrong = database.connection(
            name="Away", direction="both", config={"password": "canary-away"}
        )
        answer = self.post(api, created(api, "connections", wrong), "select 1")
        assert answer.status_code == 502
        assert answer.json()["code"] == "warehouse_failed"
        assert "canary-away" not in answer.text


class TestOtherOrgs:
    def test_see_nothing(self, live_api, model):
        with closing(live_api.sign_up()) as stranger:
            assert stranger.get(f"/orgs/{stranger.org}/transformations").json()["data"] == []
            assert stranger.get(url(stranger, model)).status_code == 404
            assert stranger.patch(url(stranger, model), json={"sql": "x"}).status_code == 404
            assert stranger.delete(url(stranger, model)).status_code == 404


def test_an_upload_stays_while_a_model_selects_from_it(api, model, upload):
    answer = api.delete(f"/orgs/{api.org}/uploads/{upload['id']}")
    assert answer.status_code == 409
    assert "transformation 'stg_flights'" in answer.json()["detail"]


class TestChangesAtTheSameTime:
    def test_one_is_saved_and_the_other_one_told(self, api, model):
        """Both are read by dbt for a second; the one that is saved first is the one that counts."""

        def change(description: str):
            return api.patch(url(api, model), json={"description": description})

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(change, ["First", "Second"]))
        saved = [answer.json() for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} <= {200, 409}
        row = api.get(url(api, model)).json()
        assert row["version"] == 1 + len(saved)
        assert row in saved

    def test_if_match(self, api, model):
        answer = api.patch(url(api, model), json={"description": "x"}, headers={"If-Match": '"7"'})
        assert answer.status_code == 412
        answer = api.patch(url(api, model), json={"description": "x"}, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')


class TestRestore:
    def test_dbt_reads_it_again(self, api, model, body):
        sql = "select carrier from {{ ref('stg_flights') }}"
        other = created(api, "transformations", {**body, "name": "m1", "sql": sql, "tests": []})
        for row in (other, model):
            assert api.delete(url(api, row)).status_code == 204
        answer = api.post(f"{url(api, other)}/restore")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "'m1' cannot be restored" in answer.json()["detail"]
        assert "stg_flights" in answer.json()["detail"]
        for row in (model, other):
            answer = api.post(f"{url(api, row)}/restore")
            assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
        assert api.delete(url(api, other)).status_code == 204

    def test_a_name_that_is_taken_by_now(self, api, model, body):
        api.delete(url(api, model))
        other = created(api, "transformations", {**body, "name": "STG-Flights", "tests": []})
        answer = api.post(f"{url(api, model)}/restore")
        assert answer.status_code == 409
        assert "'STG-Flights' already" in answer.json()["detail"]
        api.delete(url(api, other))

    def test_of_a_deleted_connection(self, api, body, database):
        name = "Short-lived"
        other = created(api, "connections", database.connection(name=name, direction="both"))
        values = {"connection_id": other["id"], "sql": "select 1 as flight_id", "tests": []}
        row = created(api, "transformations", {**body, **values})
        assert api.delete(url(api, row)).status_code == 204
        assert api.delete(f"/orgs/{api.org}/connections/{other['id']}").status_code == 204
        answer = api.post(f"{url(api, row)}/restore")
        assert answer.status_code == 409
        assert answer.json()["detail"] == f"The connection '{name}' is deleted; restore it first."
