"""`/api/v1/auth/password-resets` and `/api/v1/system/password-resets`: forgotten passwords."""

from fastapi import APIRouter, BackgroundTasks, Request

from control_plane.access.caller import OperatorDep, actor_of
from control_plane.access.password_resets.schemas import (
    ResetLinkView,
    ResetRedemption,
    ResetRequest,
    ResetRequested,
)
from control_plane.access.password_resets.service import PasswordResetsDep, make_link_for
from control_plane.core.dependencies import SessionDep, SettingsDep

router = APIRouter(prefix="/auth/password-resets", tags=["sign-in"])
platform = APIRouter(prefix="/system/password-resets", tags=["platform"])


@router.post("", status_code=202)
def request_reset(
    body: ResetRequest, resets: PasswordResetsDep, background: BackgroundTasks
) -> ResetRequested:
    """Mails a one-time link; the answer is the same whether the account exists."""
    resets.count_request(body.email)
    background.add_task(resets.mail_link, body.email)
    return ResetRequested()


@router.post("/redeem", status_code=204)
def redeem_reset(body: ResetRedemption, resets: PasswordResetsDep) -> None:
    """Sets a new password with a link's token, and ends every session of the person."""
    resets.redeem(body.token.get_secret_value(), body.new_password.get_secret_value())


@platform.post("", status_code=201)
def create_reset(
    body: ResetRequest,
    request: Request,
    operator: OperatorDep,
    session: SessionDep,
    settings: SettingsDep,
) -> ResetLinkView:
    """Makes a one-time link for an operator to hand over."""
    actor = actor_of(request, "user", operator.id, operator.email)
    made = make_link_for(session, settings, body.email, actor)
    return ResetLinkView(link=made.link, expires_at=made.expires_at)
