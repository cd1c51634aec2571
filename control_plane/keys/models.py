"""The key-encryption keys that a master password opens, and the rotations of such keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base, IdMixin


class KeyEncryptionKey(IdMixin, Base):
    """A random key, encrypted with a key that scrypt derives from the master password.

    The newest one wraps data keys; an older one stays as long as a data key needs it.
    """

    __tablename__ = "key_encryption_keys"

    wrapped_key: Mapped[str] = mapped_column(Text)
    kdf: Mapped[str] = mapped_column(String(20))
    kdf_parameters: Mapped[dict[str, Any]]
    salt: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class KeyRotation(IdMixin, Base):
    """A wish to wrap every data key with the first key-encryption key.

    What is left to do is in the data keys themselves; any process goes on until `completed_at`.
    """

    __tablename__ = "key_rotations"

    requested_by: Mapped[str] = mapped_column(String(320))
    requested_at: Mapped[datetime] = mapped_column(default=utc_now)
    completed_at: Mapped[datetime | None]
