"""The control plane's web application: `uvicorn control_plane.main:create_app --factory`."""

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline

from control_plane.access.sessions.tokens import TokenSigner
from control_plane.api import ROOT_ROUTERS, USAGES, internal_router, public_router
from control_plane.core import problems
from control_plane.core.database import make_engine, make_session_factory
from control_plane.core.slots import Slots
from control_plane.core.tasks import TaskRunner
from control_plane.core.vault import StaticKeys, Vault
from control_plane.runs.dagster import DagsterClient
from control_plane.settings import Settings, get_settings
from control_plane.warehouses.provisioner import Provisioner

logger = logging.getLogger("control_plane.requests")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Makes the application; settings come from the environment unless they are given."""
    settings = settings or get_settings()
    configure_logging()
    engine = make_engine(settings.database_url.get_secret_value())
    token = settings.service_token.get_secret_value() if settings.service_token else ""
    dagster = DagsterClient(settings.dagster_url, token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        dagster.close()
        engine.dispose()

    # FastAPI's own pages load their scripts from a CDN, which a closed network does not reach.
    app = FastAPIOffline(
        redoc_url=None,
        title="Datanika",
        version="1",
        description="Extract, load, transform and data quality for many tenants, on Dagster.",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.session_factory = make_session_factory(engine)
    app.state.vault = Vault(StaticKeys(settings.encryption_key_list()))
    app.state.signer = TokenSigner(settings.secret_key.get_secret_value())
    # Together below the threads of the server (40): short requests always find one, and with two
    # connections for each slow request the pool still has one for every other thread.
    app.state.task_runner = TaskRunner(settings.control_plane_url, Slots())
    app.state.launch_slots = Slots()
    app.state.provisioner = Provisioner(settings.provisioner_socket)
    app.state.dagster = dagster
    app.state.usages = USAGES
    problems.install(app)
    app.middleware("http")(_trace)
    for router in [*ROOT_ROUTERS, public_router(), internal_router()]:
        app.include_router(router)
    return app


def configure_logging() -> None:
    """Lets the control plane's own log lines through, unless somebody has set logging up."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("control_plane").setLevel(logging.INFO)


async def _trace(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Gives each request a trace id, security headers and a log line."""
    request.state.trace_id = uuid.uuid4().hex
    started_at = time.perf_counter()
    response = await call_next(request)
    response.headers.update(SECURITY_HEADERS)
    response.headers["X-Trace-Id"] = request.state.trace_id
    logger.info(
        "%s %s %s %.1f ms trace %s",
        request.method,
        request.url.path,
        response.status_code,
        (time.perf_counter() - started_at) * 1000,
        request.state.trace_id,
    )
    return response
