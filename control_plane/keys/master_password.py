"""Sets, checks and changes the master password, unlocks the platform and seals it.

Each operation is a transaction of its own with its entry in the platform's audit log, and one at a
time in a deployment. Wrong passwords are recorded, too.
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
        key = new_key(password)
        with transaction(self._factory) as session:
            keys = KeyRepository(session)
            keys.lock()
            if keys.newest_id() is not None:
                raise Conflict("There is a master password already; change it instead.")
            keys.add(key.row)
            self._record(session, "create")
        self._hand_over([key.opened()])

    def unlock(self, password: str) -> None:
        """Opens every key-encryption key.

        Raises:
            InvalidState: No master password was set.
            WrongMasterPassword: It is another one.
            Unavailable: The key agent does not answer.
        """
        opened = self.open_keys(password, tried="unlock")
        self._hand_over(opened, action="unlock")

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
            raise self._refused("update") from None

    def open_keys(
        self, password: str, *, tried: str, resource: str = RESOURCE
    ) -> list[KeyEncryptionKey]:
        """Returns every key-encryption key, opened; hands them to nobody.

        Args:
            password: As it was given.
            tried: The action that needs it, for the record of a wrong one.
            resource: What that action is done to.

        Raises:
            InvalidState: No master password was set.
            WrongMasterPassword: It is another one; recorded.
        """
        rows = self._require_password()
        try:
            return [KeyEncryptionKey(row.id, _open(row, password)) for row in rows]
        except WrongPassword:
            raise self._refused(tried, resource) from None

    def _hand_over(self, opened: Sequence[KeyEncryptionKey], action: str | None = None) -> None:
        # Under the lock, so that a seal at the same moment is either before or after.
        with transaction(self._factory) as session:
            KeyRepository(session).lock()
            if action is not None:
                self._record(session, action)
                session.flush()
            self._keyring.put(opened)

    def _require_password(self) -> Sequence[KeyRow]:
        with transaction(self._factory) as session:
            rows = KeyRepository(session).list_keys()
        if not rows:
            raise InvalidState(
                "There is no master password; set one with `datanika keys set-password`."
            )
        return rows

    def _refused(self, action: str, resource: str = RESOURCE) -> WrongMasterPassword:
        # In a transaction of its own: the refusal must stay on record.
        with transaction(self._factory) as session:
            self._record(session, f"{action}_failed", resource)
        return WrongMasterPassword("The master password is wrong.")

    def _record(self, session: Session, action: str, resource: str = RESOURCE) -> None:
        PlatformAuditLog(session, self._actor).record(action, resource)


class NewKey:
    """A key-encryption key that was just made, with the row that keeps it."""

    def __init__(self, key: str, row: KeyRow) -> None:
        self._key = key
        self.row = row

    def opened(self) -> KeyEncryptionKey:
        """Returns the key under its row's id, once the row is inserted."""
        return KeyEncryptionKey(self.row.id, self._key)


def new_key(password: str) -> NewKey:
    """Makes a random key-encryption key, wrapped with the password."""
    key = Fernet.generate_key().decode()
    wrapped = password_wrapping.wrap(password, key)
    row = KeyRow(
        wrapped_key=wrapped.text,
        kdf=wrapped.kdf,
        kdf_parameters=wrapped.kdf_parameters,
        salt=wrapped.salt,
    )
    return NewKey(key, row)


def _open(row: KeyRow, password: str) -> str:
    wrapped = WrappedByPassword(row.wrapped_key, row.kdf, row.kdf_parameters, row.salt)
    return password_wrapping.unwrap(password, wrapped)


def _wrap_again(row: KeyRow, current_password: str, new_password: str) -> None:
    wrapped = password_wrapping.wrap(new_password, _open(row, current_password))
    row.wrapped_key, row.salt = wrapped.text, wrapped.salt
    row.kdf, row.kdf_parameters = wrapped.kdf, wrapped.kdf_parameters
