"""Reads reactions, and which assets are watched."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from control_plane.freshness.service import list_policies, watched_assets
from control_plane.manifest.service import get_current_manifest
from control_plane.reactions.models import Cause, Reaction
from control_plane.reactions.repository import ReactionRepository
from datanika_manifest.names import AssetKey


def policies_by_asset(session: Session, org_id: int) -> dict[AssetKey, int]:
    """Returns the policy of each published asset that has one.

    Raises:
        NotPublished: The org has published nothing.
    """
    location = get_current_manifest(session, org_id).location
    policies = watched_assets(list_policies(session, org_id), location)
    return {key: row.id for key, row in policies.items()}


def page_reactions(
    session: Session, org_id: int, cause: tuple[Cause, int], before_id: int | None, limit: int
) -> Sequence[Reaction]:
    """Returns the reactions to a cause, the latest first, those before `before_id`."""
    return ReactionRepository(session, org_id).page_before(*cause, before_id, limit)
