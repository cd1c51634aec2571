"""Who operates the platform. It is no role in any org, and somebody always has it."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from control_plane.access.operators.errors import LastOperator
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import make_operator
from control_plane.audit.service import Actor, PlatformAuditLog
from control_plane.core.errors import NotFound


class OperatorService:
    """The platform's operators.

    Args:
        session: In no org.
        actor: The operator who changes them.
    """

    def __init__(self, session: Session, actor: Actor) -> None:
        self._session = session
        self._audit = PlatformAuditLog(session, actor)
        self._users = UserRepository(session)

    def list_operators(self) -> Sequence[User]:
        """Returns the operators."""
        return self._users.list_operators()

    def add_operator(self, email: str) -> User:
        """Makes an existing user an operator.

        Raises:
            NotFound: No such user.
        """
        known = {user.id for user in self._users.list_operators()}
        user = make_operator(self._session, email)
        if user.id not in known:
            self._audit.record("create", "operator", user.id, new={"email": user.email})
        return user

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
