"""`/api/v1/orgs/{org}/invitations`, and `/api/v1/auth/invitations` for whoever holds a link."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.caller import Caller, Require
from control_plane.access.invitations.acceptance import accept, find_open, refuse_unless_acceptable
from control_plane.access.invitations.delivery import DeliveryDep
from control_plane.access.invitations.holder import Holder, HolderDep
from control_plane.access.invitations.schemas import (
    InvitationAccept,
    InvitationCreate,
    InvitationIssued,
    InvitationShown,
    InvitationToken,
    InvitationView,
)
from control_plane.access.invitations.service import InvitationService, IssuedInvitation
from control_plane.access.permissions import Permission, Role
from control_plane.access.same_site import SameSite
from control_plane.access.session_cookie import set_session_cookie
from control_plane.access.sign_in.endpoints import member_org_views
from control_plane.access.sign_in.schemas import LoggedIn, UserView
from control_plane.access.users.service import hash_new_password, list_orgs
from control_plane.core.database import transaction
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, SettingsDep
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cursor_id,
    page_of,
)
from control_plane.tenancy.service import get_organization

router = APIRouter(prefix="/orgs/{org}/invitations", tags=["organization"])
holders_router = APIRouter(prefix="/auth/invitations", tags=["sign-in"])

Reader = Annotated[Caller, Depends(Require(Permission.MEMBERS_WRITE))]
Writer = Annotated[Caller, Depends(Require(Permission.MEMBERS_WRITE))]


@router.get("")
def list_invitations(
    caller: Reader, session: SessionDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[InvitationView]:
    """Lists the invitations that nobody has accepted yet, expired ones too."""
    rows = InvitationService(session, caller).page(cursor_id(cursor), limit + 1)
    return page_of(rows, limit, InvitationView)


@router.post("", status_code=201)
def create_invitation(
    body: InvitationCreate, caller: Writer, factory: SessionFactoryDep, delivery: DeliveryDep
) -> InvitationIssued:
    """Invites an address. The link is mailed, or shown in this answer where no mail is set up."""
    delivery.count_mail(caller.org_id)
    # Committed before it is mailed: the request's own transaction ends only after the answer.
    with transaction(factory, caller.org_id) as session:
        issued = InvitationService(session, caller).invite(body.email, body.role)
        org_name = get_organization(session, caller.org_id).name
    return issued_view(issued, delivery.deliver(issued, org_name, caller.actor.name))


@router.post("/{invitation_id}/renew")
def renew_invitation(
    invitation_id: int, caller: Writer, factory: SessionFactoryDep, delivery: DeliveryDep
) -> InvitationIssued:
    """Gives an invitation another link and another week; the old link ends."""
    delivery.count_mail(caller.org_id)
    with transaction(factory, caller.org_id) as session:
        issued = InvitationService(session, caller).renew(invitation_id)
        org_name = get_organization(session, caller.org_id).name
    return issued_view(issued, delivery.deliver(issued, org_name, caller.actor.name))


@router.delete("/{invitation_id}", status_code=204)
def revoke_invitation(invitation_id: int, caller: Writer, session: SessionDep) -> None:
    """Makes an invitation's link useless."""
    InvitationService(session, caller).revoke(invitation_id)


@holders_router.post("/show")
def show_invitation(
    body: InvitationToken, session: SessionDep, holder: HolderDep
) -> InvitationShown:
    """Shows what an invitation offers; the token is in the body, so that no log has it."""
    counted = holder.count_attempt()
    found = find_open(session, body.token.get_secret_value())
    holder.give_back(counted)
    return InvitationShown(
        org=found.org.slug,
        org_name=found.org.name,
        email=found.row.email,
        role=Role(found.row.role),
        has_account=found.user is not None,
        is_email_verified=found.is_email_verified,
    )


@holders_router.post("/accept")
def accept_invitation(
    body: InvitationAccept,
    response: Response,
    factory: SessionFactoryDep,
    holder: HolderDep,
    settings: SettingsDep,
    _same_site: SameSite,
) -> LoggedIn:
    """Makes the invited person a member and signs them in, once.

    An address without an account gets one, with `password`; for one with an account, send its
    access token: 401 `sign_in_required` otherwise.
    """
    token = body.token.get_secret_value()
    password_hash = _password_hash(body, factory, holder)
    with transaction(factory) as session:
        signed_in = holder.signed_in(session)
        done = accept(
            session,
            token,
            password_hash=password_hash,
            signed_in=signed_in,
            visitor=holder.visitor,
        )
        tokens = holder.start_session(session, done)
        answer = LoggedIn(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_in_seconds=tokens.expires_in_seconds,
            user=UserView.model_validate(done.user),
            orgs=member_org_views(list_orgs(session, done.user.id)),
        )
    set_session_cookie(response, settings, tokens)
    return answer


def _password_hash(
    body: InvitationAccept, factory: sessionmaker[Session], holder: Holder
) -> str | None:
    """Hashes a new person's password while nobody waits for a lock or a connection."""
    password = body.password.get_secret_value() if body.password else None
    counted = holder.count_attempt()
    with transaction(factory) as session:
        refuse_unless_acceptable(
            session,
            body.token.get_secret_value(),
            password=password,
            signed_in=holder.signed_in(session),
        )
    holder.give_back(counted)
    return hash_new_password(password, "/password") if password is not None else None


def issued_view(issued: IssuedInvitation, link: str | None) -> InvitationIssued:
    """Returns a new invitation as the API shows it, this once with its link."""
    view = InvitationView.model_validate(issued.row)
    return InvitationIssued(**view.model_dump(), link=link)
