"""The one list of routers."""

from fastapi import APIRouter, FastAPI

from control_plane.access.api_keys import endpoints as api_keys
from control_plane.access.audit_log import endpoints as audit_log
from control_plane.access.event_stream import endpoints as event_stream
from control_plane.access.invitations import endpoints as invitations
from control_plane.access.members import endpoints as members
from control_plane.access.oauth import endpoints as oauth
from control_plane.access.operators import endpoints as operators
from control_plane.access.orgs import endpoints as orgs
from control_plane.access.password_change import endpoints as password_change
from control_plane.access.password_resets import endpoints as password_resets
from control_plane.access.platform_orgs import endpoints as platform_orgs
from control_plane.access.session_list import endpoints as session_list
from control_plane.access.sign_in import endpoints as sign_in
from control_plane.connections import endpoints as connections
from control_plane.core.restorations import Restorations
from control_plane.core.usages import Usages
from control_plane.deleted import endpoints as deleted
from control_plane.dependencies import endpoints as dependencies
from control_plane.dependencies.service import dependencies_using
from control_plane.freshness import endpoints as freshness
from control_plane.freshness.service import policies_using
from control_plane.intents import endpoints as intents
from control_plane.keys import endpoints as keys
from control_plane.manifest import endpoints as manifest
from control_plane.metadata import endpoints as metadata
from control_plane.reactions import endpoints as reactions
from control_plane.runs import endpoints as runs
from control_plane.schedules import endpoints as schedules
from control_plane.schedules.service import schedules_using
from control_plane.system import endpoints as system
from control_plane.transformations import endpoints as transformations
from control_plane.transformations.lineage import transformations_using
from control_plane.uploads import endpoints as uploads
from control_plane.uploads.service import uploads_using
from control_plane.warehouses import endpoints as warehouses
from control_plane.warehouses.service import provision_again

# A request is compared with one after the other: those asked most stand first.
ROUTERS: list[APIRouter] = [
    connections.router,
    uploads.router,
    transformations.router,
    runs.router,
    event_stream.router,
    manifest.router,
    schedules.router,
    dependencies.router,
    freshness.router,
    reactions.router,
    metadata.router,
    warehouses.router,
    orgs.router,
    sign_in.router,
    session_list.router,
    members.router,
    invitations.router,
    invitations.holders_router,
    api_keys.router,
    audit_log.router,
    deleted.router,
    keys.org_router,
    oauth.router,
    password_change.router,
    password_resets.router,
    password_resets.platform,
    operators.router,
    platform_orgs.router,
    audit_log.platform,
    keys.router,
]
INTERNAL_ROUTERS: list[APIRouter] = [
    system.internal,
    keys.internal,
    platform_orgs.internal,
    manifest.internal,
    runs.internal,
    intents.internal,
]
ROOT_ROUTERS: list[APIRouter] = [system.router, oauth.root]
# Run when a deleted org comes back.
RESTORATIONS = Restorations((provision_again,))
# Asked before a resource is deleted, in the order in which people want to read what uses it.
USAGES = Usages(
    (
        uploads_using,
        transformations_using,
        dependencies_using,
        schedules_using,
        policies_using,
    )
)


PUBLIC_PREFIX = "/api/v1"
INTERNAL_PREFIX = "/internal/v1"


def include_routers(app: FastAPI) -> None:
    """Adds every route.

    Each router is included by itself: one that includes others would match a path again at each
    level, which costs more than half of a short request's routing.
    """
    for router in ROOT_ROUTERS:
        app.include_router(router)
    for router in ROUTERS:
        app.include_router(router, prefix=PUBLIC_PREFIX)
    for router in INTERNAL_ROUTERS:
        app.include_router(router, prefix=INTERNAL_PREFIX, include_in_schema=False)
