"""`/internal/v1/orgs/{org}/intents`, which the gateway asks before each mutation."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from control_plane.access.caller import RequireService, SignerDep
from control_plane.access.sessions.tokens import ServiceClaims, ServiceRole
from control_plane.core.dependencies import SessionDep
from control_plane.intents.person import caller_behind
from control_plane.intents.schemas import IntentAllowed, IntentCreate
from control_plane.intents.service import IntentService

internal = APIRouter()

Gateway = Annotated[ServiceClaims, Depends(RequireService(ServiceRole.GATEWAY))]


@internal.post("/orgs/{org}/intents")
def declare_intent(
    org: str,
    body: IntentCreate,
    request: Request,
    _gateway: Gateway,
    session: SessionDep,
    signer: SignerDep,
) -> IntentAllowed:
    """Allows what a person is about to do in the Dagster UI, and puts it on record; or refuses it."""
    caller = caller_behind(request, session, signer, org)
    return IntentAllowed(launch_ids=IntentService(session, caller).declare(body))
