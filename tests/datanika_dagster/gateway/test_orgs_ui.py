"""People in an org use Dagster's real webserver and meet nobody else there."""

import pytest

from datanika_dagster.gateway.principal import Role

WORKSPACE = """{ workspaceOrError { ... on Workspace { locationEntries {
  name displayMetadata { key value } permissions { permission value disabledReason }
  locationOrLoadError { ... on RepositoryLocation {
    repositories { name displayMetadata { value } assetNodes { assetKey { path } } } } } } } }
  permissions { permission value } }"""


def test_a_page_loads_under_its_prefix_with_the_orgs_own_instance_id(ui):
    ids = set()
    for org in (ui.mine, ui.theirs):
        page = ui.client.get(
            "/dagster/runs", headers=ui.cookie(Role.VIEWER, org) | {"Accept": "text/html"}
        )
        assert page.status_code == 200
        assert '"pathPrefix": "/dagster"' in page.text
        ids.add(page.text.partition('"instanceId": "')[2].partition('"')[0])
        assert int(page.headers["content-length"]) == len(page.content)
    assert len(ids) == 2
    assert "" not in ids


def test_the_workspace_is_the_orgs_own_location_and_nothing_of_the_machine(ui):
    found = ui.ask(WORKSPACE)["workspaceOrError"]["locationEntries"]
    assert [entry["name"] for entry in found] == [ui.mine.location]
    assert found[0]["displayMetadata"] == []
    (repository,) = found[0]["locationOrLoadError"]["repositories"]
    assert repository["displayMetadata"] == []
    assert {node["assetKey"]["path"][0] for node in repository["assetNodes"]} == {ui.mine.slug}


def test_an_operator_sees_all(ui):
    found = ui.ask(WORKSPACE, role=None)["workspaceOrError"]["locationEntries"]
    assert {ui.mine.location, ui.theirs.location} <= {entry["name"] for entry in found}
    assert found[0]["displayMetadata"] != []


@pytest.mark.parametrize("role", Role)
def test_nobody_in_an_org_may_anything_in_the_whole_deployment(ui, role):
    answer = ui.ask(WORKSPACE, role=role)
    assert not any(one["value"] for one in answer["permissions"])
