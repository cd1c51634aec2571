"""Reads and writes key-encryption keys, rotations, and one org's data keys."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.keys.models import KeyEncryptionKey, KeyRotation
from control_plane.tenancy.models import DataKey

# Any number that no other advisory lock of the database uses.
KEYS_LOCK = 0x6B657973
ORG_KEYS_LOCK = 0x6F726B


class KeyRepository:
    """The platform's keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lock(self) -> None:
        """Lets one process at a time decide which keys there are; until the transaction ends."""
        self._session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": KEYS_LOCK})

    def list_keys(self) -> Sequence[KeyEncryptionKey]:
        """Returns the key-encryption keys, the newest first."""
        return self._session.scalars(
            select(KeyEncryptionKey).order_by(KeyEncryptionKey.id.desc())
        ).all()

    def newest_id(self) -> int | None:
        """Returns the id of the newest key-encryption key, None where there is none."""
        return self._session.scalar(select(func.max(KeyEncryptionKey.id)))

    def count_data_keys(self) -> dict[int | None, int]:
        """Returns how many data keys of all orgs each key-encryption key wraps, by its id.

        One of the five SECURITY DEFINER functions (architecture, decision 19). None stands for the
        keys from outside the database.
        """
        rows = self._session.execute(text("SELECT * FROM data_key_counts()"))
        return {row.key_encryption_key_id: row.data_keys for row in rows}

    def add(self, row: KeyEncryptionKey | KeyRotation) -> None:
        """Inserts a key or a rotation and fills its id."""
        self._session.add(row)
        self._session.flush()

    def delete_unused(self, key_id: int) -> bool:
        """Deletes a key-encryption key and tells whether it is gone: no data key needs it."""
        statement = delete(KeyEncryptionKey).where(KeyEncryptionKey.id == key_id)
        try:
            with self._session.begin_nested():
                self._session.execute(statement)
        except IntegrityError:
            return False
        return True

    def find_rotation(self) -> KeyRotation | None:
        """Returns the latest rotation."""
        return self._session.scalar(select(KeyRotation).order_by(KeyRotation.id.desc()).limit(1))

    def find_open_rotation(self) -> KeyRotation | None:
        """Returns the latest rotation that is not completed."""
        return self._session.scalar(
            select(KeyRotation)
            .where(KeyRotation.completed_at.is_(None))
            .order_by(KeyRotation.id.desc())
            .limit(1)
        )

    def complete_rotations(self, rotation_id: int, now: datetime) -> int:
        """Marks the open rotations up to this one as completed and returns how many."""
        statement = (
            update(KeyRotation)
            .where(KeyRotation.id <= rotation_id, KeyRotation.completed_at.is_(None))
            .values(completed_at=now)
            .returning(KeyRotation.id)
        )
        return len(self._session.scalars(statement).all())


class DataKeyRepository:
    """The data keys of one org; the session is inside it."""

    def __init__(self, session: Session, org_id: int) -> None:
        self._session = session
        self._org_id = org_id

    def lock(self) -> None:
        """Lets one process at a time begin a rotation of this org's data key."""
        self._session.execute(
            text("SELECT pg_advisory_xact_lock(:lock, :org)"),
            {"lock": ORG_KEYS_LOCK, "org": self._org_id % 2**31},
        )

    def list_keys(self) -> Sequence[DataKey]:
        """Returns the data keys, the newest first."""
        return self._session.scalars(
            select(DataKey).where(DataKey.org_id == self._org_id).order_by(DataKey.id.desc())
        ).all()

    def lock_keys(self) -> Sequence[DataKey]:
        """Returns the data keys and keeps others from wrapping them; who writes secrets goes on."""
        return self._session.scalars(
            select(DataKey)
            .where(DataKey.org_id == self._org_id)
            .order_by(DataKey.id)
            .with_for_update(key_share=True)
        ).all()

    def delete_before(self, key_id: int) -> int:
        """Deletes the data keys older than this one and returns how many.

        Raises:
            IntegrityError: Something is still encrypted with one of them.
        """
        statement = (
            delete(DataKey)
            .where(DataKey.org_id == self._org_id, DataKey.id < key_id)
            .returning(DataKey.id)
        )
        return len(self._session.scalars(statement).all())
