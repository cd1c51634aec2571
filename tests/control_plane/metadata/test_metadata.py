"""Discovery of a real database through the REST API and a real task."""

from contextlib import closing

import pytest

from tests.control_plane.source_database import SourceDatabase, created


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
def connection(api, source):
    return created(api, "connections", source.connection())


def path(api, connection, rest: str) -> str:
    return f"/orgs/{api.org}/connections/{connection['id']}/{rest}"


def names(answer) -> list[str]:
    return [f"{table['schema']}.{table['table']}" for table in answer.json()["data"]]


class TestSync:
    def test_finds_tables_columns_and_keys(self, api, connection):
        answer = api.post(path(api, connection, "metadata/sync"))
        assert answer.json() == {"tables": 4}
        listed = api.get(path(api, connection, "tables"))
        assert names(listed) == [
            "public.busy_carriers",
            "public.flights",
            "public.planes",
            "sales.orders",
        ]
        flights = listed.json()["data"][1]
        assert flights["kind"] == "table"
        assert flights["primary_key"] == ["flight_id"]
        assert flights["columns"][1] == {"name": "carrier", "type": "text", "nullable": False}
        assert listed.json()["data"][3]["primary_key"] == ["order_id", "line"]

    def test_replaces_what_was_known(self, api, connection, source):
        source.execute("create table routes (id integer)")
        try:
            assert api.post(path(api, connection, "metadata/sync")).json() == {"tables": 5}
        finally:
            source.execute("drop table routes")
        assert api.post(path(api, connection, "metadata/sync")).json() == {"tables": 4}

    def test_says_why_the_database_cannot_be_read(self, api, source):
        body = source.connection(name="Wrong", config={"password": "canary-wrong"})
        wrong = created(api, "connections", body)
        answer = api.post(path(api, wrong, "metadata/sync"))
        assert answer.status_code == 502
        assert answer.json()["code"] == "discovery_failed"
        assert "The tables of connection 'Wrong' cannot be read" in answer.json()["detail"]
        assert "(connection.auth)" in answer.json()["detail"]
        assert "canary-wrong" not in answer.text

    def test_the_platforms_own_database_is_nobodys_source(self, api, postgres_cluster):
        """Loopback is allowed here, yet not the server that holds the control plane's tables."""
        body = SourceDatabase(postgres_cluster).connection(name="Platform")
        own = created(api, "connections", body)
        answer = api.post(path(api, own, "metadata/sync"))
        assert answer.status_code == 502
        assert "(connection.network_denied)" in answer.json()["detail"]


class TestList:
    def test_filters_and_pages(self, api, connection):
        api.post(path(api, connection, "metadata/sync"))
        url = path(api, connection, "tables")
        assert names(api.get(url, params={"schema": "sales"})) == ["sales.orders"]
        assert names(api.get(url, params={"name": "LIGHT"})) == ["public.flights"]
        assert names(api.get(url, params={"name": "%"})) == []
        first = api.get(url, params={"limit": 3}).json()
        rest = api.get(url, params={"limit": 3, "cursor": first["next_cursor"]})
        assert names(rest) == ["sales.orders"]
        assert rest.json()["next_cursor"] is None

    def test_refuses_a_cursor_of_another_list(self, api, connection):
        answer = api.get(path(api, connection, "tables"), params={"cursor": "WzFd"})
        assert answer.status_code == 422

    def test_another_org_sees_nothing(self, live_api, connection):
        with closing(live_api.sign_up()) as stranger:
            assert stranger.get(path(stranger, connection, "tables")).status_code == 404
            answer = stranger.post(path(stranger, connection, "metadata/sync"))
            assert answer.status_code == 404


@pytest.fixture(scope="module")
def odd_table(source):
    source.execute(
        'create table sales."Odd ""one" as select 12345678901234567890.10 as "a b",'
        " 9007199254740993::int8 as big, true as yes, null::text as nothing from"
        " generate_series(1, 150)"
    )
    yield
    source.execute('drop table sales."Odd ""one"')


@pytest.mark.usefixtures("odd_table")
class TestSample:
    def sample(self, api, connection, table, schema="sales", **query):
        return api.get(
            path(api, connection, "sample"), params={"schema": schema, "table": table, **query}
        )

    def test_values_are_exact(self, api, connection):
        body = self.sample(api, connection, 'Odd "one', limit=2).json()
        row = ["12345678901234567890.10", "9007199254740993", True, None]
        assert body["rows"] == [row, row]
        assert [column["name"] for column in body["columns"]] == ["a b", "big", "yes", "nothing"]
        assert body["columns"][0]["type"] == "numeric"
        assert body["is_cut"] is False

    def test_at_most_a_hundred_rows(self, api, connection):
        assert len(self.sample(api, connection, 'Odd "one', limit=100).json()["rows"]) == 100
        assert self.sample(api, connection, 'Odd "one', limit=101).status_code == 422

    def test_what_is_too_large_is_left_out(self, api, connection, source):
        columns = ", ".join(f"repeat('é', 20000) as c{n}" for n in range(20))
        try:
            source.execute(f"create table wider as select {columns} from generate_series(1, 99)")
            answer = self.sample(api, connection, "wider", schema="public", limit=100)
            assert answer.json()["is_cut"] is True
            assert len(answer.json()["rows"]) == 4
            assert answer.json()["rows"][0][0] == "é" * 10_000 + "…"
        finally:
            source.execute("drop table if exists wider")

    def test_a_missing_one_is_a_404_that_names_it(self, api, connection):
        answer = self.sample(api, connection, "nowhere")
        assert answer.status_code == 404
        assert "There is no table 'sales.nowhere'" in answer.json()["detail"]

    @pytest.mark.parametrize("table", ['x"; drop table flights; --', "flights where 1/0 = 1"])
    def test_a_name_is_a_name(self, api, connection, table):
        assert self.sample(api, connection, table, schema="public").status_code == 404

    @pytest.mark.parametrize("table", ["", "x" * 64, "a\0b"])
    def test_no_name_of_a_table(self, api, connection, table):
        assert self.sample(api, connection, table).status_code == 422

    def test_one_that_cannot_be_read_says_why(self, api, connection, source):
        source.execute("create view broken as select 1 / (random() * 0)::int as n")
        try:
            answer = self.sample(api, connection, "broken", schema="public")
            assert (answer.status_code, answer.json()["code"]) == (502, "sample_failed")
            assert "division by zero (sample.failed)" in answer.json()["detail"]
        finally:
            source.execute("drop view broken")
