"""A code location as a real process: what it serves, and what it never imports."""

import pytest
from dagster._serdes import deserialize_value

from tests.datanika_dagster.support.code_servers import code_server
from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve
from tests.datanika_dagster.support.manifests import manifest

ENGINES = {"dlt", "dbt", "dagster_dbt", "dagster_dlt", "psycopg", "psycopg2", "pyarrow", "pandas"}


@pytest.fixture
def control_plane():
    with serve(ControlPlaneStandIn()) as stand_in:
        yield stand_in


def test_serves_the_manifest_and_imports_no_engine(control_plane, socket_directory, tmp_path):
    sha256 = control_plane.publish(manifest())
    imports = tmp_path / "imports.log"
    with code_server(
        "acme",
        sha256,
        socket_directory / "acme.sock",
        {"DATANIKA_CONTROL_PLANE_URL": control_plane.url},
        python_options=("-X", "importtime"),
        stderr=imports,
    ) as client:
        assert client.get_server_id() == sha256
        (symbol,) = deserialize_value(client.list_repositories()).repository_symbols
        assert symbol.repository_name == "__repository__"
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in imports.read_text().splitlines()
        if line.startswith("import time:")
    }
    assert "datanika_dagster" in imported  # a canary: the log does show imports
    assert imported & ENGINES == set()


def test_loads_what_it_is_pinned_to(control_plane, socket_directory):
    old = control_plane.publish(manifest())
    control_plane.publish(manifest(tables=("flights", "planes", "airports")))
    with code_server(
        "acme",
        old,
        socket_directory / "acme.sock",
        {"DATANIKA_CONTROL_PLANE_URL": control_plane.url, "DATANIKA_MANIFEST": old},
    ):
        pass
    assert {path for _, path, _ in control_plane.requests} == {
        f"/internal/v1/orgs/acme/manifests/{old}"
    }


def test_another_orgs_manifest_is_not_loaded(control_plane, socket_directory):
    foreign = control_plane.publish(manifest(org="globex"))
    environment = {"DATANIKA_CONTROL_PLANE_URL": control_plane.url, "DATANIKA_MANIFEST": foreign}
    with (
        pytest.raises(AssertionError, match="belongs to org 'globex', not 'acme'"),
        code_server("acme", foreign, socket_directory / "acme.sock", environment),
    ):
        pass


def test_without_an_org_it_says_what_is_missing(control_plane, socket_directory):
    environment = {"DATANIKA_CONTROL_PLANE_URL": control_plane.url, "DATANIKA_ORG": ""}
    with (
        pytest.raises(AssertionError, match="DATANIKA_ORG is not set"),
        code_server("acme", "0" * 64, socket_directory / "acme.sock", environment),
    ):
        pass
