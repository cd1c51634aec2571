"""`/api/v1/orgs/{org}/…/reactions`, what was launched because something happened, and `…/freshness`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of
from control_plane.dependencies.service import DependencyService
from control_plane.freshness.service import FreshnessService
from control_plane.reactions.models import Cause
from control_plane.reactions.schemas import FreshnessView, ReactionView
from control_plane.reactions.service import page_reactions, policies_by_asset
from control_plane.runs.endpoints import DagsterDep
from control_plane.runs.freshness import read_freshness
from control_plane.runs.reading import ReadingDep

router = APIRouter(prefix="/orgs/{org}", tags=["reactions"])

FreshnessReader = Annotated[Caller, Depends(Require(Permission.FRESHNESS_READ))]
DependencyReader = Annotated[Caller, Depends(Require(Permission.DEPENDENCIES_READ))]


@router.get("/dependencies/{dependency_id}/reactions")
def list_reactions_to_successes(
    dependency_id: int,
    caller: DependencyReader,
    session: SessionDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[ReactionView]:
    """Lists what successes of an edge's upstream target have launched, the latest first."""
    row = DependencyService(session, caller).get(dependency_id)
    cause = (Cause.DEPENDENCY, row.id)
    rows = page_reactions(session, caller.org_id, cause, cursor_id(cursor), limit + 1)
    return page_of(rows, limit, ReactionView)


@router.get("/freshness-policies/{policy_id}/reactions")
def list_reactions_to_staleness(
    policy_id: int,
    caller: FreshnessReader,
    session: SessionDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[ReactionView]:
    """Lists what was done when a policy did not hold, the latest first."""
    row = FreshnessService(session, caller).get(policy_id)
    cause = (Cause.FRESHNESS, row.id)
    rows = page_reactions(session, caller.org_id, cause, cursor_id(cursor), limit + 1)
    return page_of(rows, limit, ReactionView)


@router.get("/freshness")
def list_states(
    caller: FreshnessReader, session: SessionDep, reading: ReadingDep, dagster: DagsterDep
) -> Page[FreshnessView]:
    """Lists how fresh each published table and model with a policy is."""
    policies = policies_by_asset(session, caller.org_id)
    with reading.slot(caller):
        found = read_freshness(dagster, policies)
    return Page(
        data=[
            FreshnessView(
                asset_key=list(asset.asset_key),
                policy_id=policies[asset.asset_key],
                state=asset.state,
                last_loaded_at=asset.last_loaded_at,
            )
            for asset in found
        ]
    )
