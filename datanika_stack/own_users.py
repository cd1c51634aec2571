"""Which operating-system user an org's code server runs as, and whether it can.

Where the supervisor is root, every org has a user of its own without a name or a login: a number. It must
be able to read the interpreter and the code, which a home directory under `/root` may forbid.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from datanika_stack.os_access import is_root

_TIMEOUT_SECONDS: Final = 30.0
SERVERS_ABOVE: Final = 1_000_000_000
"""So far above the users of an org's runs and jobs is that of its code server: all of them are numbers
without a name, and how many orgs there will be nobody knows."""

_NO_ORG: Final = 0
# What a code server imports, but without the seconds that importing takes.
_PROBE: Final = (
    "import importlib.util as u\n"
    "for name in 'datanika_dagster', 'datanika_manifest', 'dagster', 'dagster_postgres', 'grpc':\n"
    "    open(u.find_spec(name).origin).close()"
)


@dataclass(frozen=True)
class OwnUsers:
    """The users of the orgs' code servers.

    Attributes:
        uid_base: `DATANIKA_WORKER_UID_BASE`; None where servers run as the supervisor's own user.
        reason: Why they do; None where each has its own.
    """

    uid_base: int | None
    reason: str | None = None

    def uid_of(self, org_id: int) -> int | None:
        """Returns the user of an org's server, and of nothing else; None for our own."""
        return None if self.uid_base is None else _server_uid(self.uid_base, org_id)


def find_own_users(
    uid_base: int, python: tuple[str, ...], environment: Mapping[str, str]
) -> OwnUsers:
    """Finds out whether code servers can have users of their own.

    Args:
        uid_base: The first number of the users that orgs have.
        python: The interpreter's command.
        environment: What a code server is started with.
    """
    if not is_root():
        return OwnUsers(None, "the stack does not run as root")
    if sys.platform == "darwin":
        return OwnUsers(None, "macOS keeps its own list of users")
    try:
        done = subprocess.run(  # noqa: S603 - the stack's own interpreter
            [python[0], "-P", "-c", _PROBE],
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            user=_server_uid(uid_base, _NO_ORG),
            group=_server_uid(uid_base, _NO_ORG),
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return OwnUsers(None, f"another user cannot run {python[0]}: {error}")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return OwnUsers(None, f"another user cannot read what {python[0]} imports: {last[:200]}")
    return OwnUsers(uid_base)


def _server_uid(uid_base: int, org_id: int) -> int:
    return uid_base + SERVERS_ABOVE + org_id
