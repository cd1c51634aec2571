"""Which of the webserver's routes somebody in an org may use (dagster-webserver 1.13.27).

A route that has no row, or a row without a route, keeps the gateway from starting.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from datanika_dagster.gateway.errors import GatewayMisconfigured


class Access(StrEnum):
    """What keeps a route's answer within the org."""

    LOGIN = "login"
    """It is the same for everybody who is signed in."""
    GRAPHQL = "graphql"
    """The tables of `fields` decide."""
    OWN_RUN = "own_run"
    """It names a run, which must be the org's."""
    OWN_LOG = "own_log"
    """It names captured output, which must be of a run, a backfill or a tick of the org's."""
    NOBODY = "nobody"
    """Nobody in an org gets it."""


ROUTES: Final[Mapping[str, Access]] = {
    "/": Access.LOGIN,
    "/{path:path}": Access.LOGIN,
    "/server_info": Access.LOGIN,
    "/dagit_info": Access.LOGIN,
    "/graphql": Access.GRAPHQL,
    "/logs/{path:path}": Access.OWN_LOG,
    "/download_debug/{run_id:str}": Access.OWN_RUN,
    # Notebooks are files that the code server reads by the path it is given.
    "/notebook": Access.NOBODY,
    "/dagit/notebook": Access.NOBODY,
    # They take asset keys from three places and check none; GraphQL has mutations for the same.
    "/report_asset_check/{asset_key:path}": Access.NOBODY,
    "/report_asset_materialization/{asset_key:path}": Access.NOBODY,
    "/report_asset_observation/{asset_key:path}": Access.NOBODY,
}
"""The routes under the path prefix, but for the files of the web application."""


def check_routes(routes: Iterable[BaseRoute], prefix: str) -> None:
    """Compares the table with the webserver.

    Args:
        routes: Of the webserver.
        prefix: Under which they are mounted.

    Raises:
        GatewayMisconfigured: They differ.
    """
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Mount) and route.path == prefix:
            found |= {_name(inner) for inner in route.routes if not _is_file(inner)}
        elif not (isinstance(route, Route) and route.path == "/"):
            # Outside of the prefix there is the way into it alone.
            found.add(_name(route))
    if found != ROUTES.keys():
        raise GatewayMisconfigured(
            "The table of routes differs from the webserver's: "
            f"without a row {sorted(found - ROUTES.keys())}, "
            f"without a route {sorted(ROUTES.keys() - found)}"
        )


def _name(route: BaseRoute) -> str:
    if isinstance(route, Route | WebSocketRoute | Mount):
        return route.path
    return type(route).__name__


def _is_file(route: BaseRoute) -> bool:
    """Tells whether a route serves files of the web application, which hold nothing of anybody."""
    return str(getattr(route, "name", "")).endswith("_static")
