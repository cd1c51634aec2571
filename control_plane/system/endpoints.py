"""`/health`, `/ready`, `/login`, and who a session belongs to."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from control_plane.access.caller import SignerDep, bearer_token
from control_plane.access.sessions.service import start_session
from control_plane.access.sign_in.endpoints import COOKIE_NAME, set_session_cookie
from control_plane.access.users.service import authenticate
from control_plane.core.dependencies import SessionDep, SettingsDep
from control_plane.core.errors import Unauthorized
from control_plane.system.login_page import render, safe_next
from control_plane.system.schemas import Health, Readiness, SessionView
from control_plane.system.service import check_readiness, identify

router = APIRouter(tags=["system"])
internal = APIRouter()


@router.get("/health")
async def health() -> Health:
    """Tells that the process is alive; answered by the event loop, also when threads are busy."""
    return Health()


@router.get("/ready")
def ready(session: SessionDep, response: Response) -> Readiness:
    """Tells whether requests can be served; 503 when not."""
    readiness = check_readiness(session)
    if readiness.status != "ready":
        response.status_code = 503
    return readiness


@router.get("/login", include_in_schema=False)
def login_page(settings: SettingsDep, next: str | None = None) -> HTMLResponse:
    """Shows the page on which a person signs in for the Dagster UI."""
    return HTMLResponse(render(safe_next(next, settings.dagster_public_url)))


@router.post("/login", include_in_schema=False)
def login_form(
    email: Annotated[str, Form(max_length=320)],
    password: Annotated[str, Form(max_length=1000)],
    session: SessionDep,
    signer: SignerDep,
    settings: SettingsDep,
    next: Annotated[str | None, Form()] = None,
) -> Response:
    """Signs a person in and sends them to the Dagster UI."""
    target = safe_next(next, settings.dagster_public_url)
    try:
        user = authenticate(session, email, password)
    except Unauthorized as error:
        return HTMLResponse(render(target, error.detail), status_code=401)
    response = RedirectResponse(target, status_code=303)
    set_session_cookie(response, settings, start_session(session, signer, user))
    return response


@internal.get("/session")
def get_session_view(request: Request, session: SessionDep, signer: SignerDep) -> SessionView:
    """Tells the gateway whose cookie or token it was given."""
    return identify(
        session, signer, bearer=bearer_token(request), cookie=request.cookies.get(COOKIE_NAME)
    )
