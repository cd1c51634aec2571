"""The whole gateway: Dagster's real webserver, on PostgreSQL, with a code server."""

import json
import time

import pytest
from starlette.testclient import TestClient

from datanika_dagster.gateway.app import create_app
from tests.datanika_dagster.support.code_servers import code_server
from tests.datanika_dagster.support.control_plane_stand_in import (
    OPERATOR_COOKIE,
    ControlPlaneStandIn,
    serve,
)
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.support.waiting import wait_for

OPERATOR = {"Cookie": OPERATOR_COOKIE}
LOCATIONS = """{ locationStatusesOrError {
  ... on WorkspaceLocationStatusEntries { entries { name loadStatus versionKey } } } }"""
ASSETS = "{ assetNodes { assetKey { path } } }"


@pytest.fixture
def control_plane():
    with serve(ControlPlaneStandIn()) as stand_in:
        yield stand_in


@pytest.fixture
def client(dagster_home, control_plane, monkeypatch):
    write_workspace(dagster_home, {})
    monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", control_plane.url)
    monkeypatch.setenv("DATANIKA_DAGSTER_PUBLIC_URL", "http://testserver/dagster")
    with TestClient(create_app()) as client:
        yield client


def write_workspace(home, sockets):
    entries = [
        {"grpc_server": {"socket": str(path), "location_name": f"org_{org}"}}
        for org, path in sockets.items()
    ]
    new = home.path / "workspace.yaml.new"
    new.write_text(json.dumps({"load_from": entries}))
    new.rename(home.path / "workspace.yaml")


def ask(client, query):
    answer = client.post("/dagster/graphql", json={"query": query}, headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def locations(client):
    entries = ask(client, LOCATIONS)["locationStatusesOrError"]["entries"]
    return {
        entry["name"]: json.loads(entry["versionKey"])[0]
        for entry in entries
        if entry["loadStatus"] == "LOADED"
    }


def test_the_ui_loads_under_its_prefix(client):
    page = client.get("/dagster/overview", headers=OPERATOR | {"Accept": "text/html"})
    assert page.status_code == 200
    assert "/dagster/" in page.text


def test_locations_come_change_and_go_without_a_restart(
    client, control_plane, dagster_home, socket_directory
):
    path = socket_directory / "acme.sock"
    environment = {"DATANIKA_CONTROL_PLANE_URL": control_plane.url}
    assert locations(client) == {}
    old = control_plane.publish(manifest())
    with code_server("acme", old, path, environment):
        write_workspace(dagster_home, {"acme": path})
        started = time.monotonic()
        wait_for(lambda: locations(client) == {"org_acme": old}, 10)
        assert time.monotonic() - started < 4
    new = control_plane.publish(manifest(tables=("flights", "planes", "airports")))
    with code_server("acme", new, path, environment):
        wait_for(lambda: locations(client) == {"org_acme": new}, 10)
        paths = [node["assetKey"]["path"] for node in ask(client, ASSETS)["assetNodes"]]
        assert ["acme", "warehouse", "raw", "airports"] in paths
        write_workspace(dagster_home, {})
        wait_for(lambda: locations(client) == {}, 10)


def test_a_workspace_file_that_is_no_yaml_changes_nothing(client, dagster_home):
    (dagster_home.path / "workspace.yaml").write_text("load_from: [")
    time.sleep(1.5)
    assert locations(client) == {}
    assert client.get("/dagster/_health").status_code == 200
