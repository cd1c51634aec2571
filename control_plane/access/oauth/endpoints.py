"""Sign-in by a provider: what browsers visit, and what front ends call.

GET  /api/auth/login/{provider}      → the provider
GET  /api/auth/callback/{provider}   → the return URL, with a one-time code, never with tokens
GET  /login/oauth                    → redeems the code for the platform's own pages: the cookie
POST /api/v1/auth/oauth/exchange     → redeems it for a front end: the tokens
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from control_plane.access.caller import SignerDep
from control_plane.access.oauth.browser import CODE_PATH, BrowserSignIn
from control_plane.access.oauth.registry import CALLBACK_PATH, ProvidersDep
from control_plane.access.oauth.schemas import Exchange, SignedInByProvider, SignInWays
from control_plane.access.oauth.service import CallbackQuery, ProviderSignIn
from control_plane.access.same_site import is_own_page
from control_plane.access.session_cookie import set_session_cookie
from control_plane.access.sign_in.schemas import MemberOrgView, UserView
from control_plane.access.sign_in.visitor import VisitorDep
from control_plane.core.dependencies import SessionFactoryDep, SettingsDep, VaultDep

router = APIRouter(prefix="/auth", tags=["sign-in"])
root = APIRouter(include_in_schema=False)

QueryText = Annotated[str | None, Query(max_length=2048)]


async def get_door(
    factory: SessionFactoryDep, settings: SettingsDep, providers: ProvidersDep, visitor: VisitorDep
) -> ProviderSignIn:
    """Returns the door for the request's visitor."""
    return ProviderSignIn(factory, settings, providers, visitor)


DoorDep = Annotated[ProviderSignIn, Depends(get_door)]


async def get_browser(request: Request, door: DoorDep, settings: SettingsDep) -> BrowserSignIn:
    """Returns the sign-in of the request's browser."""
    return BrowserSignIn(door, settings, request.cookies)


async def get_callback_query(
    state: QueryText = None,
    code: QueryText = None,
    error: QueryText = None,
    iss: QueryText = None,
) -> CallbackQuery:
    """Returns what the browser brought from the provider."""
    return CallbackQuery(state, code, error, iss)


BrowserDep = Annotated[BrowserSignIn, Depends(get_browser)]
CallbackQueryDep = Annotated[CallbackQuery, Depends(get_callback_query)]


@root.get("/api/auth/login/{provider}")
def start_sign_in(provider: str, browser: BrowserDep, return_to: str | None = None) -> Response:
    """Sends the browser to a provider."""
    return browser.start(provider, return_to)


@root.get(CALLBACK_PATH + "/{provider}")
def finish_sign_in(
    provider: str, query: CallbackQueryDep, browser: BrowserDep, vault: VaultDep
) -> Response:
    """Takes what the provider says, in the browser that was sent there."""
    return browser.finish(provider, query, vault)


@root.get(CODE_PATH)
def sign_in_to_pages(
    browser: BrowserDep, signer: SignerDep, code: str = "", next: str | None = None
) -> Response:
    """Signs the browser in for the platform's own pages."""
    return browser.redeem(code, next, signer)


@router.post("/oauth/exchange")
def exchange(
    body: Exchange,
    request: Request,
    response: Response,
    door: DoorDep,
    signer: SignerDep,
    settings: SettingsDep,
) -> SignedInByProvider:
    """Exchanges the one-time code of a sign-in by a provider; each works once, for a minute.

    The Dagster UI's cookie is set only where the platform's own page asks.
    """
    redeemed = door.redeem(body.code.get_secret_value(), signer)
    if is_own_page(request, settings):
        set_session_cookie(response, settings, redeemed.tokens)
    return SignedInByProvider(
        access_token=redeemed.tokens.access_token,
        refresh_token=redeemed.tokens.refresh_token,
        expires_in_seconds=redeemed.tokens.expires_in_seconds,
        user=UserView.model_validate(redeemed.user),
        orgs=[
            MemberOrgView(id=org.org_id, slug=org.slug, name=org.name, role=org.role)
            for org in redeemed.orgs
        ],
        is_new=redeemed.is_new,
    )


@router.get("/providers")
def list_providers(providers: ProvidersDep, settings: SettingsDep) -> SignInWays:
    """Tells how people can sign in here."""
    return SignInWays(
        providers=providers.names(),
        recaptcha_site_key=settings.recaptcha_site_key if settings.recaptcha_secret_key else None,
        sign_up=settings.sign_up,
    )
