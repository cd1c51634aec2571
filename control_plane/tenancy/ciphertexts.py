"""Every ciphertext of an org, whatever its table: encrypts them again with a newer key, or erases them.

Below the ORM on purpose: a row's `version` and `updated_at` stay, because what people see of it does.
"""

from dataclasses import dataclass
from typing import cast

from sqlalchemy import ColumnElement, Table, func, inspect, select, update
from sqlalchemy.orm import Session

from control_plane.core.database import Base
from control_plane.core.errors import Sealed
from control_plane.core.vault import Binding, Vault
from control_plane.tenancy.models import DataKey, SecretsMixin


def tables_with_secrets() -> list[Table]:
    """Returns the tables of every model with `SecretsMixin`, by name."""
    tables = {
        cast("Table", inspect(mapper.class_).local_table)
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, SecretsMixin)
    }
    return sorted(tables, key=lambda table: table.name)


@dataclass
class Batch:
    """What one batch did.

    Attributes:
        last_id: Where the next one goes on; None at the end of the table.
        encrypted: Rows that have a new ciphertext.
        unreadable: Rows that no key opens; they stay as they are.
    """

    last_id: int | None = None
    encrypted: int = 0
    unreadable: int = 0


class OrgCiphertexts:
    """The ciphertexts of one org.

    Args:
        session: Inside the org.
        org_id: The org.
        vault: Encrypts and decrypts.
    """

    def __init__(self, session: Session, org_id: int, vault: Vault) -> None:
        self._session = session
        self._org_id = org_id
        self._vault = vault

    def encrypt_again(self, table: Table, newest: DataKey, after_id: int, limit: int) -> Batch:
        """Encrypts up to `limit` rows with the newest data key.

        A row that somebody is changing is left to a later pass, which sees what became of it.
        """
        columns = table.c
        statement = (
            select(columns.id, columns.secrets, columns.secrets_key_id)
            .where(self._is_older(table, newest.id), columns.id > after_id)
            .order_by(columns.id)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
        )
        batch = Batch()
        for row in self._session.execute(statement).all():
            batch.last_id = row.id
            key = self._session.get(DataKey, row.secrets_key_id)
            if key is None:
                continue
            binding = Binding(self._org_id, table.name, row.id)
            try:
                values = self._vault.decrypt(key.wrapped_key, binding, row.secrets)
            except Sealed:
                self._vault.require_keys()
                batch.unreadable += 1
                continue
            ciphertext = self._vault.encrypt(newest.wrapped_key, binding, values)
            batch.encrypted += self._replace(table, row.id, row.secrets, ciphertext, newest.id)
        return batch

    def count_older(self, newest_id: int) -> int:
        """Returns how many rows are encrypted with an older key than this one."""
        counts = [
            self._session.execute(select(func.count()).where(self._is_older(table, newest_id)))
            for table in tables_with_secrets()
        ]
        return sum(count.scalar_one() for count in counts)

    def erase(self) -> None:
        """Erases every ciphertext of the org."""
        for table in tables_with_secrets():
            self._session.execute(
                update(table)
                .where(table.c.org_id == self._org_id, table.c.secrets.is_not(None))
                .values(secrets=None, secrets_key_id=None, **_unchanged(table))
            )

    def _is_older(self, table: Table, newest_id: int) -> ColumnElement[bool]:
        return (table.c.org_id == self._org_id) & (table.c.secrets_key_id < newest_id)

    def _replace(self, table: Table, row_id: int, old: str, new: str, key_id: int) -> int:
        statement = (
            update(table)
            .where(table.c.org_id == self._org_id, table.c.id == row_id, table.c.secrets == old)
            .values(secrets=new, secrets_key_id=key_id, **_unchanged(table))
            .returning(table.c.id)
        )
        return len(self._session.execute(statement).all())


def _unchanged(table: Table) -> dict[str, ColumnElement[object]]:
    # Without this the column's own `onupdate` would set it.
    return {"updated_at": table.c.updated_at} if "updated_at" in table.c else {}
