"""Two orgs behind the whole gateway: real storages, real code servers, Dagster's real webserver."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from datanika_dagster.gateway.app import create_app
from datanika_dagster.gateway.principal import Role
from datanika_manifest.names import location_name
from tests.datanika_dagster.gateway.scoped.world import Org, make_orgs
from tests.datanika_dagster.support.code_servers import code_server
from tests.datanika_dagster.support.control_plane_stand_in import (
    OPERATOR_COOKIE,
    ControlPlaneStandIn,
    serve,
)
from tests.datanika_dagster.support.instances import DagsterHome
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.support.waiting import wait_for

LOCATIONS = """{ locationStatusesOrError {
  ... on WorkspaceLocationStatusEntries { entries { name loadStatus } } } }"""


@dataclass
class Ui:
    """The gateway, and who is signed in.

    Attributes:
        mine: The org whose people ask.
        theirs: The org that must not be seen.
    """

    client: TestClient
    control_plane: ControlPlaneStandIn
    mine: Org
    theirs: Org
    _cookies: dict[tuple[str, str], str] = field(default_factory=dict)

    def cookie(self, role: Role | None = Role.OWNER, org: Org | None = None) -> dict[str, str]:
        """Returns the headers of somebody in an org, of an operator where no role is given."""
        if role is None:
            return {"Cookie": OPERATOR_COOKIE}
        org = org or self.mine
        key = (org.slug, role.value)
        if key not in self._cookies:
            self._cookies[key] = self.control_plane.sign_in(
                org.slug, role.value, 1 if org is self.mine else 2
            )
        return {"Cookie": self._cookies[key]}

    def post(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        role: Role | None = Role.OWNER,
        org: Org | None = None,
    ) -> Any:
        body = {"query": query, "variables": variables or {}}
        return self.client.post("/dagster/graphql", json=body, headers=self.cookie(role, org))

    def ask(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        role: Role | None = Role.OWNER,
        org: Org | None = None,
    ) -> Any:
        """Returns the answer's data; there is no error."""
        answer = self.post(query, variables, role, org).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def repository(self, org: Org) -> dict[str, str]:
        return {"repositoryName": "__repository__", "repositoryLocationName": org.location}


@contextmanager
def orgs_in_the_ui(home: DagsterHome) -> Iterator[Ui]:
    """Runs it for the block."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        control_plane = stack.enter_context(serve(ControlPlaneStandIn()))
        own = {
            "DATANIKA_CONTROL_PLANE_URL": control_plane.url,
            "DATANIKA_DAGSTER_PUBLIC_URL": "http://testserver/dagster",
            "DATANIKA_SERVICE_TOKEN": "service-gateway",
        }
        for name, value in (home.environment | own).items():
            patch.setenv(name, value)
        instance = stack.enter_context(home.instance())
        # Their slugs are prefixes of each other.
        mine, theirs, *_ = make_orgs(instance)
        sockets = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        environment = {"DATANIKA_CONTROL_PLANE_URL": control_plane.url}
        entries = []
        for number, org in enumerate((mine, theirs)):
            path = sockets / f"{number}.sock"
            tables = ("flights", org.canary)
            sha256 = control_plane.publish(manifest(org.slug, tables))
            stack.enter_context(code_server(org.slug, sha256, path, environment))
            entries.append(
                {"grpc_server": {"socket": str(path), "location_name": location_name(org.slug)}}
            )
        (home.path / "workspace.yaml").write_text(json.dumps({"load_from": entries}))
        client = stack.enter_context(TestClient(create_app(), raise_server_exceptions=False))
        ui = Ui(client, control_plane, mine, theirs)
        wait_for(lambda: _loaded(ui) == {mine.location, theirs.location}, 30)
        yield ui


def _loaded(ui: Ui) -> set[str]:
    entries = ui.ask(LOCATIONS, role=None)["locationStatusesOrError"]["entries"]
    return {entry["name"] for entry in entries if entry["loadStatus"] == "LOADED"}
