"""A process that rotates keys and may kill itself: `python -m tests.control_plane.keys.rotating`.

One JSON object on stdin: settings, kind (`key_encryption_key` or `data_key`), org_id, password,
kill_after (statements that change keys or ciphertexts), batch_rows.
"""

import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from control_plane.audit.service import SYSTEM
from control_plane.connections.models import Connection
from control_plane.core.database import make_engine, make_session_factory
from control_plane.keys import data_keys, password_wrapping
from control_plane.keys.data_keys import DataKeyRotator
from control_plane.keys.keyring import make_vault
from control_plane.keys.master_password import MasterPassword
from control_plane.keys.rotation import KeyRotator
from control_plane.keys.service import keyring_of
from control_plane.settings import Settings

CHANGES = tuple(
    f"{verb} {table} "
    for verb in ("INSERT INTO", "UPDATE", "DELETE FROM")
    for table in ("key_rotations", "key_encryption_keys", "data_keys", Connection.__tablename__)
)


def main() -> None:
    work: dict[str, Any] = json.load(sys.stdin)
    password_wrapping.COST = 2**10
    data_keys.BATCH_ROWS = work.get("batch_rows", 50)
    settings = Settings.model_validate(work["settings"])
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=2)
    vault = make_vault(settings)
    factory = make_session_factory(engine)
    if work["kind"] == "data_key" and work["password"] is not None:
        MasterPassword(factory, keyring_of(vault), SYSTEM).unlock(work["password"])
    kill_after(engine, work.get("kill_after"))
    if work["kind"] == "data_key":
        rotator: DataKeyRotator | KeyRotator = DataKeyRotator(factory, vault, work["org_id"])
        rotator.begin(SYSTEM)
    else:
        rotator = KeyRotator(factory, vault, keyring_of(vault))
        rotator.begin(SYSTEM, work["password"])
    sys.stdout.write(f"{rotator.advance()}\n")


def kill_after(engine: Any, statements: int | None) -> None:
    """Ends this process without warning, after the n-th change and before its commit."""
    seen = [0]

    @event.listens_for(engine, "after_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen[0] += statement.startswith(CHANGES)
        if seen[0] == statements:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
