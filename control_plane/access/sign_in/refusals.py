"""Records the logins that are refused before anything is verified: by a limit or by the captcha.

What an account's limit refuses is in the logs of the account's orgs, too, once in its window. The
rest says nothing about an account: it comes from an address over its limit or from a program, which
could otherwise fill the log of anybody's org.
"""

import time

from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.sign_in.visitor import Visitor
from control_plane.access.throttling.service import Limit
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.service import find_credentials
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError

# A refusal that is recorded is held back for this long, so that the entries in the logs of an
# existing account's orgs cannot be measured.
RECORD_SECONDS = 0.15


class RefusedLogins:
    """The record, for one visitor.

    Args:
        factory: Each entry has a transaction of its own: the request is refused.
        visitor: Who was refused.
        name: The e-mail address that they gave; empty where they gave none.
    """

    def __init__(self, factory: sessionmaker[Session], visitor: Visitor, name: str = "") -> None:
        self._factory = factory
        self._visitor = visitor
        self._name = name.strip().lower()

    def note_address(self, limit: Limit) -> None:
        """Records that an address has reached its limit."""
        self._record(None, "login_throttled", {"counter": limit.purpose})

    def note_account(self, limit: Limit) -> None:
        """Records that an account has reached its limit, in the logs of its orgs, too."""
        started_at = time.monotonic()
        with transaction(self._factory) as session:
            known = find_credentials(session, self._name)
        new = {"counter": limit.purpose}
        self._record(known.user_id if known else None, "login_throttled", new)
        time.sleep(max(0.0, started_at + RECORD_SECONDS - time.monotonic()))

    def note_captcha(self, error: DatanikaError) -> None:
        """Records that the captcha was not passed."""
        self._record(None, "login_failed", {"because": error.code})

    def _record(self, user_id: int | None, action: str, new: dict[str, str]) -> None:
        with transaction(self._factory) as session:
            log = IdentityLog(session, self._visitor.as_actor(None, self._name))
            log.record(user_id, action, "session", new=new)
