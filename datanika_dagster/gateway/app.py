"""The gateway's application: Dagster's webserver under `/dagster`, behind the guard.

There are two of it in one process: the stock one for platform operators, and that of the orgs.

Run it with `uvicorn datanika_dagster.gateway.app:create_app --factory`.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dagster import DagsterInstance
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette
from starlette.types import ASGIApp

from datanika_dagster import settings
from datanika_dagster.gateway.guard import PREFIX, Guard, Webservers
from datanika_dagster.gateway.intents import ControlPlaneIntents
from datanika_dagster.gateway.origins import Addresses
from datanika_dagster.gateway.principal import Principal
from datanika_dagster.gateway.scoped import scoped_instance
from datanika_dagster.gateway.scoped.event_log_storage import AssetKeys
from datanika_dagster.gateway.sessions import Sessions
from datanika_dagster.gateway.webserver import OrgWebserver
from datanika_dagster.workspace.context import OrgWorkspace
from datanika_dagster.workspace.load_target import SupervisedWorkspace

STATEMENT_TIMEOUT_MILLISECONDS = 15_000
POOL_RECYCLE_SECONDS = 3600
POOL_OVERFLOW = 20


def create_app() -> ASGIApp:
    """Returns the application; the environment says which Dagster it serves.

    Raises:
        SettingMissing: DAGSTER_HOME is not set.
    """
    config = settings.read()
    workspace = SupervisedWorkspace(config.required_dagster_home() / "workspace.yaml")
    instance = DagsterInstance.get()
    instance.optimize_for_webserver(
        statement_timeout=STATEMENT_TIMEOUT_MILLISECONDS,
        pool_recycle=POOL_RECYCLE_SECONDS,
        max_overflow=POOL_OVERFLOW,
    )
    context = OrgWorkspace(instance, workspace, version=__version__)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with context:
            yield

    whole = DagsterWebserver(context, PREFIX).create_asgi_app(lifespan=lifespan)
    intents = ControlPlaneIntents(config.control_plane_url, config.service_token)

    def own_instance(
        principal: Principal, asset_keys: AssetKeys, launch_ids: deque[str]
    ) -> DagsterInstance:
        return scoped_instance(instance, principal, asset_keys, launch_ids)

    of_orgs = OrgWebserver(context, PREFIX, own_instance, intents).create_asgi_app()
    addresses = Addresses(
        login_url=f"{config.public_url.rstrip('/')}/login",
        dagster_url=config.dagster_public_url,
    )
    webservers = Webservers(whole, of_orgs)
    return Guard(webservers, Sessions(config.control_plane_url), addresses)
