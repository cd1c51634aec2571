"""Changes the password of somebody who knows the present one.

It is throttled together with logins: a stolen access token is no way to guess the password.
"""

from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.password_resets.service import close_links_of
from control_plane.access.sessions.service import SignedIn, end_sessions_of
from control_plane.access.sign_in.visitor import Visitor, VisitorDep
from control_plane.access.throttling.service import Throttle, logins_from, logins_of_account
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.passwords import verify_password
from control_plane.access.users.service import (
    Credentials,
    checked_password,
    get_unchanged,
    hash_new_password,
)
from control_plane.core.database import transaction
from control_plane.core.dependencies import SessionFactoryDep, SettingsDep
from control_plane.core.errors import Invalid
from control_plane.settings import Settings


class PasswordChange:
    """The change, for one visitor.

    Args:
        factory: Makes sessions.
        settings: Limits.
        visitor: Who asks.
    """

    def __init__(
        self, factory: sessionmaker[Session], settings: Settings, visitor: Visitor
    ) -> None:
        self._factory = factory
        self._settings = settings
        self._visitor = visitor
        self._throttle = Throttle(factory)

    def change(self, person: SignedIn, current_password: str, new_password: str) -> None:
        """Changes the password and ends all other sessions and open links of the person.

        Raises:
            Throttled: Too many failures of this account or from this address, or no place.
            Invalid: The present password is wrong, or the new one is the same or breaks a rule.
        """
        checked_password(new_password, "/new_password")
        email = person.user.email
        counted = self._throttle.count(
            logins_from(self._settings, self._visitor.address),
            logins_of_account(self._settings, email),
        )
        known = Credentials(person.user.id, person.user.password_hash)
        with self._throttle.giving_back_what_waits(counted):
            fits = verify_password(current_password, known.password_hash)
        if not fits:
            self._record(person, "password_change_failed")
            raise Invalid.field("/current_password", "is not the password of this account")
        self._throttle.give_back(counted)
        if new_password == current_password:
            raise Invalid.field("/new_password", "must be another one than the present password")
        password_hash = hash_new_password(new_password, "/new_password")
        with transaction(self._factory) as session:
            user = get_unchanged(session, known, to_change=True)
            user.password_hash = password_hash
            close_links_of(session, user.id)
            end_sessions_of(session, user.id, but=person.row.id)
            log = IdentityLog(session, self._visitor.as_actor(user.id, email))
            log.record(user.id, "password_change", "user", user.id)

    def _record(self, person: SignedIn, action: str) -> None:
        with transaction(self._factory) as session:
            log = IdentityLog(session, self._visitor.as_actor(person.user.id, person.user.email))
            log.record(person.user.id, action, "user", person.user.id)


async def get_password_change(
    factory: SessionFactoryDep, settings: SettingsDep, visitor: VisitorDep
) -> PasswordChange:
    """Returns the change for the request's visitor."""
    return PasswordChange(factory, settings, visitor)


PasswordChangeDep = Annotated[PasswordChange, Depends(get_password_change)]
