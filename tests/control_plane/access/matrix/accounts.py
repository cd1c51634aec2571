"""The same for accounts: users, members, invitations, sessions and one-time tokens."""

import secrets
import uuid
from datetime import timedelta

from control_plane.access.invitations.service import InvitationService, IssuedInvitation
from control_plane.access.oauth.models import OAuthCode
from control_plane.access.password_resets.models import PasswordReset
from control_plane.access.permissions import SHELL_RUN, Role
from control_plane.access.sessions.models import UserSession
from control_plane.access.sessions.service import start_session
from control_plane.access.task_tokens.service import mint_token
from control_plane.access.users.models import User
from control_plane.access.users.passwords import hash_password
from control_plane.access.users.repository import UserRepository
from control_plane.core.clock import utc_now
from control_plane.core.tokens import hash_token, new_token
from control_plane.tenancy.models import Organization
from tests.control_plane.access.matrix.objects import Request, Stage, manifest
from tests.factories.access import make_user

PASSWORD = "correct horse battery"
NEW_PASSWORD = "another horse battery"


def user(stage: Stage) -> Request:
    """Somebody with an account, who is not in the org."""
    return Request(body={"email": make_user(stage.session).email})


def operator(stage: Stage) -> Request:
    row = make_user(stage.session, is_platform_operator=True)
    stage.session.commit()
    return Request({"user_id": row.id})


def member(stage: Stage) -> Request:
    """A viewer of the org."""
    viewer = make_user(stage.session)
    UserRepository(stage.session).add_membership(stage.org_id, viewer.id, Role.VIEWER)
    return Request({"user_id": viewer.id})


def second_owner(stage: Stage) -> Request:
    """Somebody who stays when an owner leaves."""
    owner = make_user(stage.session)
    UserRepository(stage.session).add_membership(stage.org_id, owner.id, Role.OWNER)
    return Request()


def _invitation(stage: Stage) -> IssuedInvitation:
    service = InvitationService(stage.session, stage.member.caller)
    issued = service.invite(f"{uuid.uuid4().hex}@example.com", Role.VIEWER)
    stage.session.commit()
    return issued


def invitation(stage: Stage) -> Request:
    return Request({"invitation_id": _invitation(stage).row.id})


def invitation_token(stage: Stage) -> Request:
    return Request(body={"token": _invitation(stage).token})


def accepted_invitation(stage: Stage) -> Request:
    return Request(body={"token": _invitation(stage).token, "password": PASSWORD})


def confirmed_deletion(stage: Stage) -> Request:
    return Request(query={"confirm": stage.member.org.slug})


def org(stage: Stage) -> Request:
    """The org as a platform operator names it."""
    return Request({"slug": stage.member.org.slug})


def deleted_org(stage: Stage) -> Request:
    row = stage.session.get_one(Organization, stage.org_id)
    row.deleted_at = utc_now()
    stage.session.commit()
    return org(stage)


def session(stage: Stage) -> Request:
    row = UserSession(user_id=stage.member.user.id, expires_at=utc_now() + timedelta(hours=1))
    return Request({"session_id": stage.add(row).id})


def switch(stage: Stage) -> Request:
    return Request(body={"org": stage.member.org.slug})


def password_change(stage: Stage) -> Request:
    row = stage.session.get_one(User, stage.member.user.id)
    row.password_hash = hash_password(PASSWORD)
    stage.session.commit()
    return Request(body={"current_password": PASSWORD, "new_password": NEW_PASSWORD})


def reset(stage: Stage) -> Request:
    token = new_token("dtp_")
    row = PasswordReset(
        user_id=stage.member.user.id,
        token_hash=hash_token(token),
        is_mailed=False,
        expires_at=utc_now() + timedelta(hours=1),
    )
    stage.add(row)
    return Request(body={"token": token, "new_password": NEW_PASSWORD})


def oauth_code(stage: Stage) -> Request:
    code = new_token("dto_")
    row = OAuthCode(
        user_id=stage.member.user.id,
        provider="github",
        code_hash=hash_token(code),
        state_hash=hash_token(code[::-1]),
        is_new_user=False,
        expires_at=utc_now() + timedelta(minutes=1),
    )
    stage.add(row)
    return Request(body={"code": code})


def provider(_: Stage) -> Request:
    return Request({"provider": "github"})


def _account(stage: Stage) -> dict[str, str]:
    """A user with a password."""
    hashed = hash_password(PASSWORD)
    return {"email": make_user(stage.session, password_hash=hashed).email, "password": PASSWORD}


def login_form(stage: Stage) -> Request:
    return Request(form=_account(stage))


def sign_up(_: Stage) -> Request:
    # Live tests on the same worker keep what they sign up.
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email, "password": PASSWORD, "org_name": "New"}
    return Request(body=body)


def log_in(stage: Stage) -> Request:
    return Request(body=_account(stage))


def refresh(stage: Stage) -> Request:
    tokens = start_session(stage.session, stage.world.app.state.signer, stage.member.user)
    return Request(body={"refresh_token": tokens.refresh_token})


def session_of_gateway(stage: Stage) -> Request:
    return Request(headers=stage.world.bearer(stage.member.user))


def intent(stage: Stage) -> Request:
    """A person's, which the gateway passes on."""
    person = stage.world.bearer(stage.member.user)["Authorization"]
    body = {"field": "cancelPartitionBackfill", "targets": [{"kind": "backfill", "id": "b"}]}
    return Request(body=body, headers={"X-Person-Authorization": person})


def shell_run(stage: Stage) -> Request:
    """An API key with the scopes that a shell needs."""
    key = stage.world.make_key(stage.member, SHELL_RUN)
    sha256 = manifest(stage).path["sha256"]
    body = {"run_id": str(uuid.uuid4()), "org": stage.member.org.slug, "manifest_sha256": sha256}
    return Request(body=body, headers=key)


def task_token(stage: Stage) -> Request:
    actor = stage.member.caller.actor
    minted = mint_token(stage.session, stage.org_id, actor, purpose="test", connection_ids=[])
    return Request(headers={"Authorization": f"Bearer {minted.token}"})
