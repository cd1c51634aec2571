"""The control plane's web application: `uvicorn control_plane.main:create_app --factory`."""

import logging
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from control_plane import openapi
from control_plane.access.captcha.service import Captcha
from control_plane.access.key_store.uses import KeyUses
from control_plane.access.oauth.registry import SignInProviders
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.api import RESTORATIONS, USAGES, include_routers
from control_plane.core import problems
from control_plane.core.database import make_engine, make_session_factory
from control_plane.core.mail import Mailer
from control_plane.core.middleware import RequestContext, RequestSizeLimit
from control_plane.core.places import Places
from control_plane.core.slots import Slots
from control_plane.core.tasks import TaskRunner
from control_plane.core.worker_hosts import WorkerHosts
from control_plane.events.signals import EventSignals
from control_plane.keys.keyring import make_vault
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.redemption import Redemption
from control_plane.settings import Settings, get_settings
from control_plane.system.service import DatabaseProbe
from control_plane.warehouses.provisioner import Provisioner

REQUEST_HEADERS = ("Content-Type", "Idempotency-Key", "If-Match")
RESPONSE_HEADERS = ("ETag", "Location", "Retry-After", "X-Trace-Id")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Makes the application; settings come from the environment unless they are given."""
    settings = settings or get_settings()
    configure_logging()
    app = assemble(settings)
    equip(app, settings)
    return app


def assemble(settings: Settings) -> FastAPI:
    """Makes the routes and what every request passes, without the services that they ask for."""
    # FastAPI's own pages load their scripts from a CDN, which a closed network does not reach.
    app = FastAPIOffline(
        redoc_url=None,
        title="Datanika",
        version="1",
        description="Extract, load, transform and data quality for many tenants, on Dagster.",
        lifespan=_lifespan,
    )
    problems.install(app)
    _add_middleware(app, settings)
    include_routers(app)
    openapi.complete(app, settings.api_key_header)
    return app


def equip(app: FastAPI, settings: Settings) -> None:
    """Gives an application its services; its lifespan closes what has to be closed."""
    app.state.closing = ExitStack()
    for name, service in _make_services(settings, app.state.closing).items():
        setattr(app.state, name, service)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    with app.state.closing:
        yield


def _make_services(settings: Settings, held: ExitStack) -> dict[str, object]:
    """Makes what the dependencies find in `app.state`; `held` closes what has to be closed."""
    engine = make_engine(settings.database_url.get_secret_value())
    held.callback(engine.dispose)
    token = settings.service_token.get_secret_value() if settings.service_token else ""
    dagster = DagsterClient(settings.dagster_url, token)
    sign_in_providers = SignInProviders(settings)
    captcha = Captcha(settings)
    for client in (dagster, sign_in_providers, captcha):
        held.callback(client.close)
    factory, vault = make_session_factory(engine), make_vault(settings)
    signals = EventSignals(settings.database_url.get_secret_value())
    held.callback(signals.close)
    redemption = Redemption(factory, vault, settings)
    smtp_url = settings.smtp_url.get_secret_value() if settings.smtp_url else None
    return {
        "settings": settings,
        "session_factory": factory,
        "vault": vault,
        "mailer": Mailer(smtp_url, settings.smtp_from),
        "captcha": captcha,
        "signer": TokenSigner(settings.secret_key.get_secret_value()),
        "key_uses": KeyUses(),
        # Together below the threads of the server (40): short requests always find one, and with
        # two connections for each slow request the pool still has one for every other thread. Who
        # looks at a run holds none.
        "task_runner": TaskRunner(WorkerHosts(settings.worker_sockets), redemption.grant),
        "launch_slots": Slots(),
        "reading_slots": Slots(total=12, per_org=6),
        "places": Places(),
        "stream_slots": Slots(total=400, per_org=50, kept_for_others=50, what="event streams"),
        "event_signals": signals,
        "database_probe": DatabaseProbe(),
        "provisioner": Provisioner(settings.provisioner_socket),
        "dagster": dagster,
        "sign_in_providers": sign_in_providers,
        "usages": USAGES,
        "restorations": RESTORATIONS,
    }


def configure_logging() -> None:
    """Lets the control plane's own log lines through, unless somebody has set logging up."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("control_plane").setLevel(logging.INFO)


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Adds what every request passes; the last added is the outermost."""
    app.add_middleware(RequestSizeLimit, maximum_bytes=settings.maximum_request_bytes)
    if settings.cors_origins:
        # No credentials: the API takes no cookie, so that a foreign page cannot use a person's.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
            allow_headers=["Authorization", settings.api_key_header, *REQUEST_HEADERS],
            expose_headers=RESPONSE_HEADERS,
        )
    app.add_middleware(
        RequestContext,
        trusted_proxies=settings.trusted_proxies,
        is_https=settings.public_url.startswith("https://"),
    )
