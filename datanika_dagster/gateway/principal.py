"""Who asks, and in which org: what every answer of the gateway is limited by.

A principal is made of the control plane's answer about a session and of nothing else. It knows neither
HTTP nor Dagster.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from datanika_dagster.control_plane_client import Session
from datanika_manifest.names import is_slug, location_name

PRINCIPAL: Final = "datanika.principal"
"""Where in the scope of a request that was let through stands who asks."""

SessionKey = tuple[tuple[str, str], ...]
"""The request headers that prove a session, as names and values: what to ask again with."""


class Role(StrEnum):
    """What somebody is in an org, from least to most."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OWNER = "owner"

    def at_least(self, other: "Role") -> bool:
        """Tells whether this role may do what `other` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True)
class Principal:
    """Who asks, and in which org.

    Attributes:
        org: The org's slug.
        org_id: The org's number.
        role: What they are there.
        permissions: What they may do, in the control plane's names.
        actor: Who they are, as audit and runs show them.
        session_key: Proves the session once more; never shown and never logged.
    """

    org: str
    org_id: int
    role: Role
    permissions: frozenset[str]
    actor: str
    session_key: SessionKey = field(default=(), repr=False)

    @property
    def location(self) -> str:
        """The name of the org's code location."""
        return location_name(self.org)


def principal_of(session: Session, session_key: SessionKey) -> Principal | None:
    """Returns who asks, None for somebody who works in no org now.

    An answer with an org or a role that this version does not know is nobody's, too.

    Args:
        session: The control plane's answer.
        session_key: The headers it was asked with.
    """
    known_roles = [role.value for role in Role]
    if session.kind != "user" or session.org is None or session.org_id is None:
        return None
    if session.role not in known_roles or session.org_id <= 0 or not is_slug(session.org):
        return None
    return Principal(
        org=session.org,
        org_id=session.org_id,
        role=Role(session.role),
        permissions=frozenset(session.permissions or ()),
        actor=session.name,
        session_key=session_key,
    )
