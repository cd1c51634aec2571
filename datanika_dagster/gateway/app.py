"""The gateway's application: Dagster's webserver under `/dagster`, behind the guard.

Run it with `uvicorn datanika_dagster.gateway.app:create_app --factory`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from dagster import DagsterInstance
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette
from starlette.types import ASGIApp

from datanika_dagster import settings
from datanika_dagster.gateway.guard import PREFIX, Guard, Webservers
from datanika_dagster.gateway.origins import Addresses
from datanika_dagster.gateway.problems import problem
from datanika_dagster.gateway.sessions import Sessions
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
    addresses = Addresses(
        login_url=f"{config.public_url.rstrip('/')}/login",
        dagster_url=config.dagster_public_url,
    )
    # Orgs' people come in when each org has its own view of the instance.
    refusal = problem(HTTPStatus.FORBIDDEN, "permission.denied", "Only platform operators may.")
    return Guard(Webservers(whole, refusal), Sessions(config.control_plane_url), addresses)
