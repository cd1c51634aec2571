"""Who operates the platform. It is no role in any org, and somebody always has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from control_plane.access.first_proof.service import end_credentials
from control_plane.access.operators.errors import LastOperator
from control_plane.access.password_resets.service import (
    ResetLink,
    close_links_of,
    make_link_for,
)
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import make_operator
from control_plane.audit.service import Actor, PlatformAuditLog
from control_plane.core.errors import NotFound
from control_plane.settings import Settings


@dataclass(frozen=True)
class NewOperator:
    """An operator.

    Attributes:
        user: Who.
        link: Sets the new password of one whose address nobody had proven.
    """

    user: User
    link: ResetLink | None


class OperatorService:
    """The platform's operators.

    Args:
        session: In no org.
        actor: The operator who changes them.
    """

    def __init__(self, session: Session, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._audit = PlatformAuditLog(session, actor)
        self._users = UserRepository(session)

    def list_operators(self) -> Sequence[User]:
        """Returns the operators."""
        return self._users.list_operators()

    def add_operator(self, email: str, settings: Settings) -> NewOperator:
        """Makes an existing user an operator, once.

        Whoever was the first to type an address has an account with it. So where nobody has proven
        the address, all that the account has given out ends, and who operates the platform from
        now on is whoever gets the link from the operator's hand.

        Args:
            email: Of the user.
            settings: With the platform's own URL, for the link.

        Raises:
            NotFound: No such user.
        """
        found = self._users.find_by_email(email.strip().lower())
        # Locked, so that a sign-in at the same moment ends as well.
        user = self._users.find_locked(found.id, to_change=True) if found else None
        if user is None:
            raise NotFound(f"There is no user '{email}'.")
        if user.is_platform_operator:
            return NewOperator(user, None)
        is_proven = user.email_verified_at is not None
        link = None if is_proven else self._renewed(user, settings)
        make_operator(self._session, user.email)
        new = {"email": user.email, "ended_earlier_credentials": not is_proven}
        self._audit.record("create", "operator", user.id, new=new)
        return NewOperator(user, link)

    def _renewed(self, user: User, settings: Settings) -> ResetLink:
        close_links_of(self._session, user.id)
        end_credentials(self._session, user, self._actor)
        return make_link_for(self._session, settings, user.email, self._actor)

    def remove_operator(self, user_id: int) -> None:
        """Makes an operator an ordinary user again, from the next request on.

        Raises:
            NotFound: The user is no operator.
            LastOperator: There is no other one.
        """
        # All of them, in the order of their ids: of two who remove each other, the second sees it.
        operators = self._users.list_operators(lock=True)
        user = next((one for one in operators if one.id == user_id), None)
        if user is None:
            raise NotFound(f"There is no operator {user_id}.")
        if len(operators) == 1:
            raise LastOperator(f"{user.email} is the only operator; make somebody else one first.")
        user.is_platform_operator = False
        self._session.flush()
        self._audit.record("delete", "operator", user.id, old={"email": user.email})
