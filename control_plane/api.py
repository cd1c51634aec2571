"""The one list of routers."""

from fastapi import APIRouter

from control_plane.access.api_keys import endpoints as api_keys
from control_plane.access.sessions import endpoints as sessions
from control_plane.access.users import endpoints as users
from control_plane.connections import endpoints as connections
from control_plane.system import endpoints as system
from control_plane.warehouses import endpoints as warehouses

ROUTERS: list[APIRouter] = [
    sessions.router,
    users.router,
    api_keys.router,
    connections.router,
    warehouses.router,
]
INTERNAL_ROUTERS: list[APIRouter] = [
    system.internal,
    connections.internal,
]
ROOT_ROUTERS: list[APIRouter] = [system.router]


def public_router() -> APIRouter:
    """Returns the REST API under `/api/v1`."""
    api = APIRouter(prefix="/api/v1")
    for router in ROUTERS:
        api.include_router(router)
    return api


def internal_router() -> APIRouter:
    """Returns what the platform's own processes call, under `/internal/v1`."""
    api = APIRouter(prefix="/internal/v1", include_in_schema=False)
    for router in INTERNAL_ROUTERS:
        api.include_router(router)
    return api
