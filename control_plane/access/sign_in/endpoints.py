"""`/api/v1/auth`: sign-up, sign-in, renewal, sign-out, and which org a session works in.

The cookie that signing in sets serves the platform's pages and the Dagster UI; the REST API takes
no cookie, but for accepting an invitation, so a foreign site cannot use it.
"""

from fastapi import APIRouter, Response
from pydantic import SecretStr

from control_plane.access.current_session import CurrentSessionDep
from control_plane.access.same_site import SameSite
from control_plane.access.session_cookie import delete_session_cookie, set_session_cookie
from control_plane.access.sessions.service import (
    IssuedTokens,
    current_org,
    end_session,
    switch_org,
)
from control_plane.access.sign_in.schemas import (
    LoggedIn,
    LogIn,
    Me,
    MemberOrgView,
    OrgView,
    Refresh,
    SignedUp,
    SignUp,
    Switch,
    Tokens,
    UserView,
)
from control_plane.access.sign_in.service import SignInDep, SignUpWish
from control_plane.access.sign_in.visitor import VisitorDep
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.repository import UserOrg
from control_plane.access.users.service import list_orgs
from control_plane.core.dependencies import SessionDep, SettingsDep, VaultDep

router = APIRouter(prefix="/auth", tags=["sign-in"])


@router.post("/signup", status_code=201)
def signup(
    body: SignUp,
    response: Response,
    sign_in: SignInDep,
    vault: VaultDep,
    settings: SettingsDep,
    _same_site: SameSite,
) -> SignedUp:
    """Creates an account and its organization, and signs in."""
    wish = SignUpWish(body.email, body.password.get_secret_value(), body.org_name)
    done = sign_in.sign_up(vault, wish, _text(body.captcha_token))
    set_session_cookie(response, settings, done.tokens)
    return SignedUp(
        **_tokens(done.tokens).model_dump(),
        user=UserView.model_validate(done.account.user),
        org=OrgView.model_validate(done.account.org),
    )


@router.post("/login")
def login(
    body: LogIn,
    response: Response,
    sign_in: SignInDep,
    settings: SettingsDep,
    _same_site: SameSite,
) -> LoggedIn:
    """Signs in."""
    done = sign_in.log_in(body.email, body.password.get_secret_value(), _text(body.captcha_token))
    set_session_cookie(response, settings, done.tokens)
    return LoggedIn(
        **_tokens(done.tokens).model_dump(),
        user=UserView.model_validate(done.user),
        orgs=member_org_views(done.orgs),
    )


@router.post("/refresh")
def refresh(body: Refresh, sign_in: SignInDep) -> Tokens:
    """Exchanges a refresh token for new tokens; each can be used once."""
    return _tokens(sign_in.renew(body.refresh_token.get_secret_value()))


@router.post("/logout", status_code=204)
def logout(session: SessionDep, current: CurrentSessionDep, visitor: VisitorDep) -> Response:
    """Ends the session of the presented access token."""
    end_session(session, current.row.id)
    log = IdentityLog(session, visitor.as_actor(current.user.id, current.user.email))
    log.record(current.user.id, "logout", "session", current.row.id)
    response = Response(status_code=204)
    delete_session_cookie(response)
    return response


@router.get("/me")
def me(session: SessionDep, current: CurrentSessionDep) -> Me:
    """Returns the signed-in user, their organizations, and the one that this session works in."""
    org = current_org(session, current.row)
    return Me(
        user=UserView.model_validate(current.user),
        orgs=member_org_views(list_orgs(session, current.user.id)),
        current_org=org.slug if org else None,
    )


@router.post("/switch")
def switch(
    body: Switch, session: SessionDep, current: CurrentSessionDep, visitor: VisitorDep
) -> Me:
    """Makes the session work in another of the user's orgs; the Dagster UI follows."""
    before = current_org(session, current.row)
    switch_org(session, current.row, body.org)
    log = IdentityLog(session, visitor.as_actor(current.user.id, current.user.email))
    new = {"org": body.org, "from_org": before.slug if before else None}
    log.record(current.user.id, "switch", "session", current.row.id, new=new)
    return me(session, current)


def member_org_views(orgs: list[UserOrg]) -> list[MemberOrgView]:
    """Returns a user's orgs as the API shows them."""
    return [
        MemberOrgView(id=org.org_id, slug=org.slug, name=org.name, role=org.role) for org in orgs
    ]


def _tokens(issued: IssuedTokens) -> Tokens:
    return Tokens(
        access_token=issued.access_token,
        refresh_token=issued.refresh_token,
        expires_in_seconds=issued.expires_in_seconds,
    )


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
