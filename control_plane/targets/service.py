"""What an edge, a schedule or a freshness policy can name: an upload or a transformation.

The features above store a target as its type and id. There is no foreign key, because there is no
single table; every id is looked up inside the caller's org when it is saved, and what is named
cannot be deleted (`core.usages`).
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from control_plane.core.errors import Invalid
from control_plane.transformations.service import (
    find_transformation,
    require_live_transformation,
)
from control_plane.uploads.service import find_upload, require_live_upload


class TargetType(StrEnum):
    """Everything that can be run; persisted, append-only."""

    UPLOAD = "upload"
    TRANSFORMATION = "transformation"
    PIPELINE = "pipeline"
    CHECK_SET = "check_set"


KNOWN_TYPES = (TargetType.UPLOAD, TargetType.TRANSFORMATION)
"""What this version can run; the others are refused by name."""


@dataclass(frozen=True, order=True)
class TargetRef:
    """A target by type and id."""

    type: str
    id: int


@dataclass(frozen=True)
class Target:
    """A target that exists."""

    ref: TargetRef
    name: str

    def __str__(self) -> str:
        return f"{self.ref.type} '{self.name}'"


class TargetService:
    """The targets of one org.

    Args:
        session: Inside the org.
        org_id: The org.
    """

    def __init__(self, session: Session, org_id: int) -> None:
        self._session = session
        self._org_id = org_id

    def find_target(self, ref: TargetRef) -> Target | None:
        """Returns a target, None where the org has none like that."""
        if ref.type == TargetType.UPLOAD:
            row = find_upload(self._session, self._org_id, ref.id)
        elif ref.type == TargetType.TRANSFORMATION:
            row = find_transformation(self._session, self._org_id, ref.id)
        else:
            return None
        return None if row is None else Target(ref, row.name)

    def require_target(self, ref: TargetRef, prefix: str) -> Target:
        """Returns the target that a request names.

        Args:
            ref: What the request says.
            prefix: Of the request's fields: `target` for `/target_type` and `/target_id`.

        Raises:
            Invalid: The type is not known yet, or the org has no such target.
        """
        if ref.type not in KNOWN_TYPES:
            raise Invalid.field(
                f"/{prefix}_type",
                f"'{ref.type}' is not known yet in this version; known: {', '.join(KNOWN_TYPES)}",
            )
        target = self.find_target(ref)
        if target is None:
            raise Invalid.field(f"/{prefix}_id", f"There is no {ref.type} {ref.id}.")
        return target

    def require_live_target(self, ref: TargetRef, *, hold: bool) -> Target:
        """Returns a target that a saved row names, with `hold` so that nobody deletes it.

        Raises:
            Conflict: It is deleted; the detail names it.
        """
        require = (
            require_live_upload if ref.type == TargetType.UPLOAD else require_live_transformation
        )
        return Target(ref, require(self._session, self._org_id, ref.id, hold=hold).name)
