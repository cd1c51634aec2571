"""Reads and writes accounts at providers and one-time codes; global tables."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from control_plane.access.oauth.models import OAuthCode, OAuthIdentity
from control_plane.access.users.models import User


class OAuthRepository:
    """Identities and codes."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def find_identity(self, provider: str, subject: str) -> OAuthIdentity | None:
        """Returns the identity with the provider's own id."""
        return self.session.scalar(
            select(OAuthIdentity).where(
                OAuthIdentity.provider == provider, OAuthIdentity.subject == subject
            )
        )

    def has_identity(self, user_id: int, provider: str) -> bool:
        """Tells whether a user has an account at a provider already."""
        statement = select(OAuthIdentity.id).where(
            OAuthIdentity.user_id == user_id, OAuthIdentity.provider == provider
        )
        return self.session.scalar(statement) is not None

    def lock_user_by_email(self, email: str) -> User | None:
        """Returns the user with this address, deleted ones too, and keeps others from it."""
        return self.session.scalar(
            select(User)
            .where(User.email == email)
            .with_for_update()
            .execution_options(populate_existing=True)
        )

    def add_identity(self, identity: OAuthIdentity) -> OAuthIdentity:
        """Inserts an identity and fills its id."""
        self.session.add(identity)
        self.session.flush()
        return identity

    def is_state_used(self, state_hash: str) -> bool:
        """Tells whether a sign-in with this state was finished."""
        statement = select(OAuthCode.id).where(OAuthCode.state_hash == state_hash)
        return self.session.scalar(statement) is not None

    def add_code(self, code: OAuthCode) -> None:
        """Inserts a one-time code; its state must be new."""
        self.session.add(code)
        self.session.flush()

    def use_code(self, code_hash: str, now: datetime) -> OAuthCode | None:
        """Marks a code as used, atomically, and returns it where it could still be used."""
        return self.session.scalar(
            update(OAuthCode)
            .where(
                OAuthCode.code_hash == code_hash,
                OAuthCode.used_at.is_(None),
                OAuthCode.expires_at > now,
            )
            .values(used_at=now)
            .returning(OAuthCode)
        )
