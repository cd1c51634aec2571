"""An org's secrets: stores and reads the encrypted columns of its rows.

The only code that touches `SecretsMixin`'s columns; the vault does the encryption.
"""

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from control_plane.core.errors import Sealed
from control_plane.core.vault import Binding, Vault
from control_plane.tenancy.models import DataKey, OrgOwned, SecretsMixin


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
        wrapped = self._vault.new_data_key()
        key = DataKey(
            org_id=self._org_id,
            wrapped_key=wrapped.text,
            key_encryption_key_id=wrapped.key_encryption_key_id,
        )
        self._session.add(key)
        self._session.flush()
        return key

    def store(self, row: OrgOwned, values: dict[str, str]) -> None:
        """Encrypts `values` into `row`, which has its id already; no values clear it.

        Raises:
            Sealed: The platform is sealed, or the org's keys were destroyed.
        """
        secrets = _secrets_of(row)
        if not values:
            secrets.secrets, secrets.secrets_key_id = None, None
        else:
            key = self._newest_key()
            secrets.secrets = self._vault.encrypt(key.wrapped_key, _binding(row), values)
            secrets.secrets_key_id = key.id
        self._session.flush()

    def read(self, row: OrgOwned) -> dict[str, str]:
        """Decrypts the secrets of `row`; none give an empty dict.

        Raises:
            Sealed: The platform is sealed, or the ciphertext is not this row's.
        """
        secrets = _secrets_of(row)
        if secrets.secrets is None:
            return {}
        key = self._session.get_one(DataKey, secrets.secrets_key_id)
        return self._vault.decrypt(key.wrapped_key, _binding(row), secrets.secrets)

    def _newest_key(self) -> DataKey:
        # Shared until the end of the transaction: a rotation cannot delete the key meanwhile.
        key = self._session.scalar(
            select(DataKey)
            .where(DataKey.org_id == self._org_id)
            .order_by(DataKey.id.desc())
            .limit(1)
            .with_for_update(read=True, key_share=True)
        )
        if key is None:
            raise Sealed("The keys of this organization were destroyed.")
        return key


def _secrets_of(row: OrgOwned) -> SecretsMixin:
    if not isinstance(row, SecretsMixin):
        raise TypeError(f"{type(row).__name__} has no secrets")
    return row


def _binding(row: OrgOwned) -> Binding:
    return Binding(row.org_id, inspect(type(row)).local_table.name, row.id)
