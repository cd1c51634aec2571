"""An org's secrets: stores and reads the encrypted columns of its rows.

Only this and `ciphertexts.py` touch `SecretsMixin`'s columns; the vault does the encryption. Keys are
replaced while this goes on (`control_plane/keys`): whoever finds that a key has changed reads again.
"""

from sqlalchemy import delete, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.core.errors import Sealed
from control_plane.core.vault import Binding, Vault
from control_plane.tenancy.ciphertexts import OrgCiphertexts
from control_plane.tenancy.errors import KeysDestroyed
from control_plane.tenancy.models import DataKey, OrgOwned, SecretsMixin

# A rotation takes a key away once, between two statements; nothing takes keys away in a row.
MAXIMUM_ATTEMPTS = 3


class OrgSecrets:
    """The secrets of one org.

    Args:
        session: Inside the org.
        org_id: The org.
        vault: Encrypts and decrypts.
    """

    def __init__(self, session: Session, org_id: int, vault: Vault) -> None:
        self._session = session
        self._org_id = org_id
        self._vault = vault

    def add_data_key(self) -> DataKey:
        """Makes the org's newest data key, which encrypts from now on.

        Raises:
            Sealed: There is no key to wrap it with.
        """
        for _ in range(MAXIMUM_ATTEMPTS):
            try:
                with self._session.begin_nested():
                    return self._insert_data_key()
            except IntegrityError:
                # The key that wrapped it has just been replaced and deleted.
                self._vault.provider.refresh()
        raise Sealed("The platform's key-encryption key was replaced; run `datanika unlock` again.")

    def store(self, row: OrgOwned, values: dict[str, str]) -> None:
        """Encrypts `values` into `row`, which has its id already; no values clear it.

        Raises:
            Sealed: The platform is sealed.
            KeysDestroyed: The org has no data key any more.
        """
        secrets = _secrets_of(row)
        if not values:
            secrets.secrets, secrets.secrets_key_id = None, None
        else:
            key = self._newest_key()
            secrets.secrets = self._encrypt(key, _binding(row), values)
            secrets.secrets_key_id = key.id
        self._session.flush()

    def read(self, row: OrgOwned) -> dict[str, str]:
        """Decrypts the secrets of `row`; none give an empty dict.

        Raises:
            Sealed: The platform is sealed, or the ciphertext is not this row's.
            KeysDestroyed: The org has no data key any more.
        """
        secrets = _secrets_of(row)
        for _ in range(MAXIMUM_ATTEMPTS):
            if secrets.secrets is None:
                return self._no_secrets()
            key = self._session.get(DataKey, secrets.secrets_key_id)
            if key is not None:
                return self._decrypt(key, _binding(row), secrets.secrets)
            # A rotation has encrypted the row again and deleted the key since the row was read.
            self._session.refresh(row, ["secrets", "secrets_key_id"])
        raise _destroyed()

    def has_data_key(self) -> bool:
        """Tells whether the org has a data key: without one, its secrets were destroyed."""
        statement = select(DataKey.id).where(DataKey.org_id == self._org_id).limit(1)
        return self._session.scalar(statement) is not None

    def destroy(self) -> None:
        """Erases every secret of the org and its data keys; `add_data_key` starts anew.

        Needs no key: a sealed platform can destroy, too.
        """
        ciphertexts = OrgCiphertexts(self._session, self._org_id, self._vault)
        # Rows before keys, as everybody locks them. Then the keys: that waits for whoever is storing
        # a secret in a new row and keeps the next one from it. Then those rows.
        ciphertexts.erase()
        keys = select(DataKey.id).where(DataKey.org_id == self._org_id)
        self._session.execute(keys.with_for_update())
        ciphertexts.erase()
        self._session.execute(delete(DataKey).where(DataKey.org_id == self._org_id))
        for row in self._session:
            if isinstance(row, SecretsMixin):
                self._session.expire(row, ["secrets", "secrets_key_id"])

    def _no_secrets(self) -> dict[str, str]:
        """Tells a row that has no secrets from one whose secrets were destroyed."""
        exists = select(DataKey.id).where(DataKey.org_id == self._org_id).limit(1)
        if self._session.scalar(exists) is None:
            raise _destroyed()
        return {}

    def _insert_data_key(self) -> DataKey:
        wrapped = self._vault.new_data_key()
        key = DataKey(
            org_id=self._org_id,
            wrapped_key=wrapped.text,
            key_encryption_key_id=wrapped.key_encryption_key_id,
        )
        self._session.add(key)
        self._session.flush()
        return key

    def _newest_key(self) -> DataKey:
        # Shared until the end of the transaction: a rotation cannot delete the key meanwhile.
        statement = (
            select(DataKey)
            .where(DataKey.org_id == self._org_id)
            .order_by(DataKey.id.desc())
            .limit(1)
            .with_for_update(read=True, key_share=True)
            .execution_options(populate_existing=True)
        )
        for _ in range(MAXIMUM_ATTEMPTS):
            # None also where the key was deleted while this statement waited for its lock: the
            # newer one is in the next statement's snapshot.
            key = self._session.scalar(statement)
            if key is not None:
                return key
        raise _destroyed()

    def _encrypt(self, key: DataKey, binding: Binding, values: dict[str, str]) -> str:
        try:
            return self._vault.encrypt(key.wrapped_key, binding, values)
        except Sealed:
            if not self._was_wrapped_again(key):
                raise
            return self._vault.encrypt(key.wrapped_key, binding, values)

    def _decrypt(self, key: DataKey, binding: Binding, ciphertext: str) -> dict[str, str]:
        try:
            return self._vault.decrypt(key.wrapped_key, binding, ciphertext)
        except Sealed:
            if not self._was_wrapped_again(key):
                raise
            return self._vault.decrypt(key.wrapped_key, binding, ciphertext)

    def _was_wrapped_again(self, key: DataKey) -> bool:
        """Reads the key again; a rotation may have wrapped it with another key since."""
        before = key.wrapped_key
        self._session.refresh(key)
        return key.wrapped_key != before


def _secrets_of(row: OrgOwned) -> SecretsMixin:
    if not isinstance(row, SecretsMixin):
        raise TypeError(f"{type(row).__name__} has no secrets")
    return row


def _binding(row: OrgOwned) -> Binding:
    return Binding(row.org_id, inspect(type(row)).local_table.name, row.id)


def _destroyed() -> KeysDestroyed:
    return KeysDestroyed("The keys of this organization were destroyed; its secrets are gone.")
