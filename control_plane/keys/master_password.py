"""Sets, checks and changes the master password, unlocks the platform and seals it.

Each step is a transaction of its own with its entry in the platform's audit log. Wrong passwords
are recorded, too.

Several processes do all of this at any moment, so what decides is decided under one lock of the
database (`KeyRepository.lock`): which rows there are, which password wraps them, and what the key
agent holds. It is taken first, before rows of orgs and before a derivation's turn, and nobody who
has one of those waits for it. A derivation before the lock only saves time under it: the rows are
read again there. Whenever nobody has the lock:

- one password opens every row of `key_encryption_keys`;
- the agent holds nothing, or the key of every row as it was when the agent was last filled; only a
  new key may be missing, whose maker died or was refused before handing it over: no data key is
  wrapped with it, and the next unlocking brings it;
- nothing but a password that opens all rows of that moment fills an agent that was sealed, and the
  last `seal`, `unlock` or `create` on record tells which it is.

A key is committed before the agent gets it, and gone from the table before the agent loses it: so
making one and dropping one take the lock twice, and what comes in between is tested.
"""

from collections.abc import Sequence

from cryptography.fernet import Fernet
from sqlalchemy.orm import Session, sessionmaker

from control_plane.audit.service import Actor, PlatformAuditLog
from control_plane.core.database import transaction
from control_plane.core.errors import Conflict, InvalidState
from control_plane.core.vault import KeyEncryptionKey
from control_plane.keys import password_wrapping
from control_plane.keys.errors import WrongMasterPassword
from control_plane.keys.keyring import Keyring
from control_plane.keys.models import KeyEncryptionKey as KeyRow
from control_plane.keys.password_wrapping import WrappedByPassword, WrongPassword
from control_plane.keys.repository import KeyRepository

RESOURCE = "master_password"


class MasterPassword:
    """The platform's master password.

    Args:
        factory: Makes sessions.
        keyring: Gets what the password opens.
        actor: Who asks.
    """

    def __init__(self, factory: sessionmaker[Session], keyring: Keyring, actor: Actor) -> None:
        self._factory = factory
        self._keyring = keyring
        self._actor = actor

    def set(self, password: str) -> None:
        """Makes the first key-encryption key under a new password and unlocks the platform.

        Raises:
            Invalid: The password is too short.
            InvalidState: The keys come from elsewhere.
            Conflict: There is a master password already.
        """
        if not self._keyring.has_master_password:
            raise InvalidState(
                f"The keys come from the provider '{self._keyring.kind}'; start the platform with "
                "DATANIKA_KEY_PROVIDER=master_password first."
            )
        password = password_wrapping.check_password(password, "/password")
        opener = KeyOpener(password)
        row = opener.make_row()
        with transaction(self._factory) as session:
            keys = KeyRepository(session)
            keys.lock()
            if keys.newest_id() is not None:
                raise Conflict("There is a master password already; change it instead.")
            keys.add(row)
            self._record(session, "create")
        self.hand_over(opener, tried="create")

    def unlock(self, password: str) -> None:
        """Opens every key-encryption key.

        Raises:
            InvalidState: No master password was set.
            WrongMasterPassword: It is another one.
            Unavailable: The key agent does not answer.
        """
        opener = self.open_keys(password, tried="unlock")
        self.hand_over(opener, tried="unlock", recorded="unlock")

    def seal(self) -> None:
        """Forgets the opened keys, in every process that asks the key agent.

        Raises:
            InvalidState: The keys come from elsewhere: there is nothing to forget.
            Unavailable: The key agent does not answer; this process forgets them all the same.
        """
        with transaction(self._factory) as session:
            keys = KeyRepository(session)
            keys.lock()
            if not self._keyring.has_master_password and keys.newest_id() is None:
                raise InvalidState(
                    f"The keys come from the provider '{self._keyring.kind}'; only a platform "
                    "with a master password can be sealed."
                )
            self._record(session, "seal")
            session.flush()
            self._keyring.clear()

    def change(self, current_password: str, new_password: str) -> None:
        """Wraps every key-encryption key with another password; what they wrap stays as it is.

        Raises:
            Invalid: The new password is too short.
            InvalidState: No master password was set.
            WrongMasterPassword: The current one is another.
        """
        new_password = password_wrapping.check_password(new_password, "/new_password")
        self._require_password()
        try:
            with transaction(self._factory) as session:
                keys = KeyRepository(session)
                keys.lock()
                for row in keys.list_keys():
                    _wrap_again(row, current_password, new_password)
                self._record(session, "update")
        except WrongPassword:
            raise self.refused("update") from None

    def open_keys(self, password: str, *, tried: str, resource: str = RESOURCE) -> "KeyOpener":
        """Opens every key-encryption key; hands them to nobody.

        Args:
            password: As it was given.
            tried: The action that needs it, for the record of a wrong one.
            resource: What that action is done to.

        Raises:
            InvalidState: No master password was set.
            WrongMasterPassword: It is another one; recorded.
        """
        opener = KeyOpener(password)
        rows = self._require_password()
        try:
            opener.open(rows)
        except WrongPassword:
            raise self.refused(tried, resource) from None
        return opener

    def hand_over(
        self,
        opener: "KeyOpener",
        *,
        tried: str,
        resource: str = RESOURCE,
        recorded: str | None = None,
        unless_sealed: bool = False,
    ) -> None:
        """Gives every process the keys of the rows as they are now.

        Args:
            opener: Has the password.
            tried: The action that needs it, for the record of one that was changed meanwhile.
            resource: What that action is done to.
            recorded: What the platform's log says of it; None for nothing.
            unless_sealed: Whether a sealed platform stays so.

        Raises:
            WrongMasterPassword: The password was changed meanwhile.
            Unavailable: The key agent does not answer.
        """
        try:
            with transaction(self._factory) as session:
                keys = KeyRepository(session)
                keys.lock()
                opened = opener.open(keys.list_keys())
                if unless_sealed and not self._keyring.opened_now():
                    return
                if recorded is not None:
                    self._record(session, recorded)
                    session.flush()
                self._keyring.put(opened)
        except WrongPassword:
            raise self.refused(tried, resource) from None

    def refused(self, action: str, resource: str = RESOURCE) -> WrongMasterPassword:
        """Records a wrong password, in a transaction of its own, and returns the refusal."""
        with transaction(self._factory) as session:
            self._record(session, f"{action}_failed", resource)
        return WrongMasterPassword("The master password is wrong.")

    def _require_password(self) -> Sequence[KeyRow]:
        with transaction(self._factory) as session:
            rows = KeyRepository(session).list_keys()
        if not rows:
            raise InvalidState(
                "There is no master password; set one with `datanika keys set-password`."
            )
        return rows

    def _record(self, session: Session, action: str, resource: str = RESOURCE) -> None:
        PlatformAuditLog(session, self._actor).record(action, resource)


class KeyOpener:
    """Opens rows with one password, and derives nothing again for a row that it has seen as it is.

    Args:
        password: As it was given.
    """

    def __init__(self, password: str) -> None:
        self._password = password
        self._seen: dict[str, str] = {}

    def __repr__(self) -> str:
        return "KeyOpener(***)"

    def open(self, rows: Sequence[KeyRow]) -> list[KeyEncryptionKey]:
        """Returns the key of each row.

        Raises:
            WrongPassword: Another one wraps it.
        """
        return [KeyEncryptionKey(row.id, self._open(row)) for row in rows]

    def make_row(self) -> KeyRow:
        """Makes a random key and returns the row that keeps it, not yet inserted."""
        key = Fernet.generate_key().decode()
        wrapped = password_wrapping.wrap(self._password, key)
        self._seen[wrapped.text] = key
        return KeyRow(
            wrapped_key=wrapped.text,
            kdf=wrapped.kdf,
            kdf_parameters=wrapped.kdf_parameters,
            salt=wrapped.salt,
        )

    def _open(self, row: KeyRow) -> str:
        # What is wrapped anew has another text, whoever wrapped it.
        if row.wrapped_key not in self._seen:
            self._seen[row.wrapped_key] = _open(row, self._password)
        return self._seen[row.wrapped_key]


def _open(row: KeyRow, password: str) -> str:
    wrapped = WrappedByPassword(row.wrapped_key, row.kdf, row.kdf_parameters, row.salt)
    return password_wrapping.unwrap(password, wrapped)


def _wrap_again(row: KeyRow, current_password: str, new_password: str) -> None:
    wrapped = password_wrapping.wrap(new_password, _open(row, current_password))
    row.wrapped_key, row.salt = wrapped.text, wrapped.salt
    row.kdf, row.kdf_parameters = wrapped.kdf, wrapped.kdf_parameters
