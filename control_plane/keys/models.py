"""The key-encryption keys that a master password opens."""

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
