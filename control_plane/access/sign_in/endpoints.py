"""`/api/v1/auth`: sign-up, sign-in, renewal, sign-out.

The cookie that signing in sets serves the Dagster UI only; the REST API takes no cookie, so a
foreign site cannot use it.
"""

from fastapi import APIRouter, Request, Response

from control_plane.access.caller import SignerDep, UserDep, bearer_token
from control_plane.access.sessions.service import (
    IssuedTokens,
    end_session,
    renew_session,
    start_session,
)
from control_plane.access.sessions.tokens import Audience
from control_plane.access.sign_in.schemas import (
    LoggedIn,
    LogIn,
    Me,
    MemberOrgView,
    OrgView,
    Refresh,
    SignedUp,
    SignUp,
    Tokens,
    UserView,
)
from control_plane.access.users.service import authenticate, list_orgs, sign_up
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, SettingsDep, VaultDep
from control_plane.core.errors import Unauthorized
from control_plane.settings import Settings

router = APIRouter(prefix="/auth", tags=["sign-in"])
COOKIE_NAME = "datanika_session"


def set_session_cookie(response: Response, settings: Settings, tokens: IssuedTokens) -> None:
    """Gives the browser the cookie that the Dagster UI's gateway reads."""
    response.set_cookie(
        COOKIE_NAME,
        tokens.cookie,
        expires=tokens.cookie_expires_at,
        httponly=True,
        samesite="lax",
        secure=settings.public_url.startswith("https://"),
        path="/",
    )


@router.post("/signup", status_code=201)
def signup(
    body: SignUp,
    response: Response,
    session: SessionDep,
    vault: VaultDep,
    signer: SignerDep,
    settings: SettingsDep,
) -> SignedUp:
    """Creates an account and its organization, and signs in."""
    account = sign_up(
        session,
        vault,
        email=body.email,
        password=body.password.get_secret_value(),
        org_name=body.org_name,
    )
    tokens = start_session(session, signer, account.user)
    set_session_cookie(response, settings, tokens)
    return SignedUp(
        **_tokens(tokens).model_dump(),
        user=UserView.model_validate(account.user),
        org=OrgView.model_validate(account.org),
    )


@router.post("/login")
def login(
    body: LogIn, response: Response, session: SessionDep, signer: SignerDep, settings: SettingsDep
) -> LoggedIn:
    """Signs in."""
    user = authenticate(session, body.email, body.password.get_secret_value())
    tokens = start_session(session, signer, user)
    set_session_cookie(response, settings, tokens)
    return LoggedIn(
        **_tokens(tokens).model_dump(),
        user=UserView.model_validate(user),
        orgs=_orgs(session, user.id),
    )


@router.post("/refresh")
def refresh(body: Refresh, factory: SessionFactoryDep, signer: SignerDep) -> Tokens:
    """Exchanges a refresh token for new tokens; each can be used once."""
    # A reused token ends its session, and that must be committed although the answer is a 401.
    with factory() as session, session.begin():
        tokens = renew_session(session, signer, body.refresh_token.get_secret_value())
    if tokens is None:
        raise Unauthorized("The refresh token is not valid; sign in again.")
    return _tokens(tokens)


@router.post("/logout", status_code=204)
def logout(request: Request, session: SessionDep, signer: SignerDep, user: UserDep) -> Response:
    """Ends the session of the presented access token."""
    claims = signer.read_user(bearer_token(request) or "", Audience.API)
    if claims.user_id == user.id:
        end_session(session, claims.session_id)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE_NAME, path="/")
    return response


@router.get("/me")
def me(session: SessionDep, user: UserDep) -> Me:
    """Returns the signed-in user and their organizations."""
    return Me(user=UserView.model_validate(user), orgs=_orgs(session, user.id))


def _tokens(issued: IssuedTokens) -> Tokens:
    return Tokens(
        access_token=issued.access_token,
        refresh_token=issued.refresh_token,
        expires_in_seconds=issued.expires_in_seconds,
    )


def _orgs(session: SessionDep, user_id: int) -> list[MemberOrgView]:
    return [
        MemberOrgView(id=org.org_id, slug=org.slug, name=org.name, role=org.role)
        for org in list_orgs(session, user_id)
    ]
