"""`/health`, `/ready`, the platform's own pages, and who a session belongs to."""

from typing import Annotated, cast

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from control_plane.access.caller import SignerDep, bearer_token
from control_plane.access.captcha.errors import CaptchaFailed, CaptchaUnavailable
from control_plane.access.captcha.service import CaptchaDep
from control_plane.access.landing import WELCOME_PATH, landing_url
from control_plane.access.oauth.registry import ProvidersDep
from control_plane.access.same_site import SameSite
from control_plane.access.session_cookie import (
    COOKIE_NAME,
    delete_session_cookie,
    set_session_cookie,
)
from control_plane.access.sign_in.service import SignInDep
from control_plane.access.sign_in.visitor import VisitorDep
from control_plane.access.users.service import list_orgs
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, SettingsDep, VaultDep
from control_plane.core.errors import DatanikaError, Throttled, Unauthorized
from control_plane.system.invitation_page import invitation_page
from control_plane.system.login_page import login_page, logout_page, safe_next
from control_plane.system.reset_page import forgotten_page, reset_page
from control_plane.system.schemas import Health, LoginForm, Readiness, SessionView
from control_plane.system.service import (
    DatabaseProbe,
    check_readiness,
    end_cookie_session,
    identify,
    user_of_cookie,
)
from control_plane.system.welcome_page import welcome_page

router = APIRouter(tags=["system"])
internal = APIRouter()


@router.get("/health")
async def health() -> Health:
    """Tells that the process is alive; answered by the event loop, also when threads are busy."""
    return Health()


@router.get("/ready")
def ready(
    request: Request,
    factory: SessionFactoryDep,
    vault: VaultDep,
    settings: SettingsDep,
    response: Response,
) -> Readiness:
    """Tells whether requests can be served; 503 when not."""
    probe = cast("DatabaseProbe", request.app.state.database_probe)
    readiness = check_readiness(probe.is_ready(factory), vault, settings.isolation)
    if readiness.status != "ready":
        response.status_code = 503
    return readiness


@router.get("/login", include_in_schema=False)
def show_login(
    settings: SettingsDep, captcha: CaptchaDep, providers: ProvidersDep, next: str | None = None
) -> HTMLResponse:
    """Shows the page on which a person signs in."""
    wanted = safe_next(next, settings.dagster_public_url)
    return login_page(settings, captcha, providers, wanted).answer()


@router.post("/login", include_in_schema=False)
def login_form(
    form: Annotated[LoginForm, Form()],
    sign_in: SignInDep,
    captcha: CaptchaDep,
    settings: SettingsDep,
    providers: ProvidersDep,
    _same_site: SameSite,
) -> Response:
    """Signs a person in; they go on to where they came from."""
    wanted = safe_next(form.next, settings.dagster_public_url)
    try:
        done = sign_in.log_in(form.email, form.password.get_secret_value(), form.captcha_token)
    except (Unauthorized, Throttled, CaptchaFailed, CaptchaUnavailable) as error:
        page = login_page(settings, captcha, providers, wanted, alert=error.detail)
        return page.answer(error.status, _retry_after(error))
    response = RedirectResponse(landing_url(wanted), status_code=303)
    set_session_cookie(response, settings, done.tokens)
    return response


@router.get(WELCOME_PATH, include_in_schema=False)
def show_welcome(
    request: Request, session: SessionDep, signer: SignerDep, settings: SettingsDep
) -> Response:
    """Shows a person who is signed in who they are, where they belong, and how to go on."""
    user = user_of_cookie(session, signer, request.cookies.get(COOKIE_NAME))
    if user is None:
        return RedirectResponse("/login", status_code=303)
    return welcome_page(settings, user, list_orgs(session, user.id)).answer()


@router.get("/invitation", include_in_schema=False)
async def show_invitation(providers: ProvidersDep) -> HTMLResponse:
    """Shows the page on which a person accepts an invitation; it holds nothing."""
    return invitation_page(list(providers.titles().values())).answer()


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
    """Asks a person whether to sign out."""
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
    delete_session_cookie(response)
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
