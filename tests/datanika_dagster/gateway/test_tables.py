"""The gateway's tables and Dagster agree by name; whatever a new version brings keeps it from starting."""

import inspect

import pytest
from dagster._core.workspace.context import IWorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.permissions import Permissions
from dagster_graphql.schema import create_schema
from dagster_webserver import graphql as webserver_graphql
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLField, GraphQLString
from starlette.routing import Route

from datanika_dagster.gateway import field_guard, permissions
from datanika_dagster.gateway.errors import GatewayMisconfigured
from datanika_dagster.gateway.field_guard import TABLES, check_tables
from datanika_dagster.gateway.fields.rules import Reach
from datanika_dagster.gateway.masking import mask_errors
from datanika_dagster.gateway.org_context import OrgProcess, OrgRequestContext
from datanika_dagster.gateway.permissions import MUTATION_OF
from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.routes import ROUTES, Access, check_routes
from datanika_dagster.gateway.webserver import OrgWebserver
from datanika_manifest.intents import INTENTS
from tests.datanika_dagster.gateway import calls

PINNED = {
    (
        DagsterWebserver,
        "_make_request_context",
    ): "(self, conn: starlette.requests.HTTPConnection) -> ~TRequestContext",
    (DagsterWebserver, "build_graphql_schema"): "(self) -> graphene.types.schema.Schema",
    (DagsterWebserver, "build_routes"): "(self)",
    (DagsterWebserver, "index_html_endpoint"): "(self, request: starlette.requests.Request)",
    (
        webserver_graphql.GraphQLServer,
        "handle_graphql_errors",
    ): "(self, errors: collections.abc.Sequence[graphql.error.graphql_error.GraphQLError])",
    (
        webserver_graphql.GraphQLServer,
        "_determine_status_code",
    ): "(self, resolver_errors: list[graphql.error.graphql_error.GraphQLError] | None, "
    "captured_errors: list[Exception]) -> int",
    (
        webserver_graphql,
        "_handle_async_results",
    ): "(results: collections.abc.AsyncGenerator, operation_id: str, "
    "websocket: starlette.websockets.WebSocket)",
    (
        WorkspaceRequestContext,
        "permissions_for_location",
    ): "(self, *, location_name: str) -> "
    "collections.abc.Mapping[str, dagster._core.workspace.permissions.PermissionResult]",
}


@pytest.fixture
def schema():
    return create_schema().graphql_schema


def test_the_tables_are_those_of_the_installed_dagster(schema):
    check_tables(schema)


@pytest.mark.parametrize("type_name", [*TABLES, "Instance"])
def test_a_new_field_is_noticed(schema, type_name):
    schema.type_map[type_name].fields["newlyInvented"] = GraphQLField(GraphQLString)
    with pytest.raises(GatewayMisconfigured, match="newlyInvented"):
        check_tables(schema)


@pytest.mark.parametrize("type_name", [*TABLES, "Instance"])
def test_a_field_that_is_gone_is_noticed(schema, type_name):
    name, _ = schema.type_map[type_name].fields.popitem()
    with pytest.raises(GatewayMisconfigured, match=name):
        check_tables(schema)


def test_a_type_whose_answers_are_replaced_is_noticed_when_it_changes(schema):
    del schema.type_map["RunQueueConfig"].fields["tagConcurrencyLimitsYaml"]
    with pytest.raises(GatewayMisconfigured, match="tagConcurrencyLimitsYaml"):
        check_tables(schema)
    schema.type_map["PythonError"].fields["sql"] = GraphQLField(GraphQLString)
    with pytest.raises(GatewayMisconfigured):
        mask_errors(schema)


def test_a_permission_without_a_row_is_noticed(monkeypatch):
    fewer = {one: name for one, name in MUTATION_OF.items() if one is not Permissions.WIPE_ASSETS}
    monkeypatch.setattr(permissions, "MUTATION_OF", fewer)
    with pytest.raises(GatewayMisconfigured, match="wipe_assets"):
        permissions.check_table()


def test_routes_are_those_of_the_installed_webserver():
    class Stock(DagsterWebserver):
        def __init__(self):
            self._app_path_prefix = "/dagster"

    routes = Stock().build_routes()
    check_routes(routes, "/dagster")
    routes[0].routes.append(Route("/newly_invented", lambda _: None))
    with pytest.raises(GatewayMisconfigured, match="newly_invented"):
        check_routes(routes, "/dagster")
    with pytest.raises(GatewayMisconfigured, match="server_info"):
        check_routes([], "/dagster")


@pytest.mark.parametrize(("owner", "name"), PINNED, ids=lambda one: getattr(one, "__name__", one))
def test_what_is_overridden_has_the_signature_that_it_had(owner, name):
    assert str(inspect.signature(getattr(owner, name))) == PINNED[owner, name]


def test_nothing_that_would_lead_out_of_the_org_is_inherited():
    """Every method of a process that Dagster calls is answered by the org's own class."""
    asked = {
        name
        for name, member in vars(IWorkspaceProcessContext).items()
        if not name.startswith("_") and callable(member) and name != "create_request_context"
    }
    safe = {"refresh_component_state", "shutdown_code_location"}  # raise NotImplementedError
    assert asked - safe <= vars(OrgProcess).keys()
    assert {"permissions", "permissions_for_location", "reload_workspace"} <= vars(
        OrgRequestContext
    ).keys()


def test_who_may_and_what_it_takes_stand_in_one_table():
    rows = field_guard.TABLES["Mutation"]
    assert {name for name, rule in rows.items() if rule.role} == INTENTS.keys()
    assert {name for name in MUTATION_OF.values() if name} <= INTENTS.keys()
    assert {one.role for one in INTENTS.values()} == {Role.EDITOR, Role.ADMIN}


def test_what_nobody_gets_is_said_to_be_denied():
    for table in TABLES.values():
        for name, rule in table.items():
            assert (rule.role is None) == (rule.reach is Reach.DENY), name


def test_every_root_field_is_called_by_the_fuzz():
    assert calls.QUERIES.keys() == TABLES["Query"].keys()
    assert calls.MUTATIONS.keys() == TABLES["Mutation"].keys()


def test_every_route_is_overridden_or_the_same_for_all():
    overridden = vars(OrgWebserver).keys()
    assert {
        "download_captured_logs_endpoint",
        "download_debug_file_endpoint",
        "download_notebook",
        "report_asset_check_endpoint",
        "report_asset_materialization_endpoint",
        "report_asset_observation_endpoint",
        "index_html_endpoint",
    } <= overridden
    assert set(Access) == set(ROUTES.values())
