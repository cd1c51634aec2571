"""`/health`, `/ready`, `/login`, `/logout`, the pages for passwords, and who a session belongs to."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from control_plane.access.caller import SignerDep, bearer_token
from control_plane.access.captcha.errors import CaptchaFailed, CaptchaUnavailable
from control_plane.access.captcha.service import CaptchaDep
from control_plane.access.same_site import SameSite
from control_plane.access.sign_in.endpoints import COOKIE_NAME, set_session_cookie
from control_plane.access.sign_in.service import SignInDep
from control_plane.access.sign_in.visitor import VisitorDep
from control_plane.core.dependencies import SessionDep, SettingsDep, VaultDep
from control_plane.core.errors import DatanikaError, Throttled, Unauthorized
from control_plane.system.login_page import login_page, logout_page, safe_next
from control_plane.system.reset_page import forgotten_page, reset_page
from control_plane.system.schemas import Health, LoginForm, Readiness, SessionView
from control_plane.system.service import check_readiness, end_cookie_session, identify

router = APIRouter(tags=["system"])
internal = APIRouter()


@router.get("/health")
async def health() -> Health:
    """Tells that the process is alive; answered by the event loop, also when threads are busy."""
    return Health()


@router.get("/ready")
def ready(session: SessionDep, vault: VaultDep, response: Response) -> Readiness:
    """Tells whether requests can be served; 503 when not."""
    readiness = check_readiness(session, vault)
    if readiness.status != "ready":
        response.status_code = 503
    return readiness


@router.get("/login", include_in_schema=False)
def show_login(settings: SettingsDep, captcha: CaptchaDep, next: str | None = None) -> HTMLResponse:
    """Shows the page on which a person signs in for the Dagster UI."""
    return login_page(settings, captcha, safe_next(next, settings.dagster_public_url)).answer()


@router.post("/login", include_in_schema=False)
def login_form(
    form: Annotated[LoginForm, Form()],
    sign_in: SignInDep,
    captcha: CaptchaDep,
    settings: SettingsDep,
    _same_site: SameSite,
) -> Response:
    """Signs a person in and sends them to the Dagster UI."""
    target = safe_next(form.next, settings.dagster_public_url)
    try:
        done = sign_in.log_in(form.email, form.password.get_secret_value(), form.captcha_token)
    except (Unauthorized, Throttled, CaptchaFailed, CaptchaUnavailable) as error:
        page = login_page(settings, captcha, target, alert=error.detail)
        return page.answer(error.status, _retry_after(error))
    response = RedirectResponse(target, status_code=303)
    set_session_cookie(response, settings, done.tokens)
    return response


@router.get("/password-reset", include_in_schema=False)
async def show_reset() -> HTMLResponse:
    """Shows the page behind a password link; it holds nothing."""
    return reset_page().answer()


@router.get("/forgotten-password", include_in_schema=False)
async def show_forgotten() -> HTMLResponse:
    """Shows the page on which a person asks for a password link."""
    return forgotten_page().answer()


@router.get("/logout", include_in_schema=False)
def show_logout() -> HTMLResponse:
    """Asks a person whether to sign out of the Dagster UI."""
    return logout_page().answer()


@router.post("/logout", include_in_schema=False)
def logout_form(
    request: Request,
    session: SessionDep,
    signer: SignerDep,
    visitor: VisitorDep,
    _same_site: SameSite,
) -> Response:
    """Ends the session of the cookie and sends the person to the login page."""
    cookie = request.cookies.get(COOKIE_NAME)
    if cookie is not None:
        end_cookie_session(session, signer, cookie, visitor)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE_NAME, path="/")
    return response


@internal.get("/session")
def get_session_view(request: Request, session: SessionDep, signer: SignerDep) -> SessionView:
    """Tells the gateway whose cookie or token it was given."""
    return identify(
        session, signer, bearer=bearer_token(request), cookie=request.cookies.get(COOKIE_NAME)
    )


def _retry_after(error: DatanikaError) -> dict[str, str]:
    if isinstance(error, Throttled):
        return {"Retry-After": str(error.retry_after_seconds)}
    return {}
