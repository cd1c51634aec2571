"""`/api/v1/system/operators`: who runs the platform."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from control_plane.access.caller import OperatorDep, actor_of
from control_plane.access.operators.schemas import OperatorCreate, OperatorMade, Operators
from control_plane.access.operators.service import OperatorService
from control_plane.access.sign_in.schemas import UserView
from control_plane.audit.service import Actor
from control_plane.core.dependencies import SessionDep, SettingsDep

router = APIRouter(prefix="/system/operators", tags=["platform"])


async def operating_actor(request: Request, operator: OperatorDep) -> Actor:
    """Returns the signed-in operator, for the audit log."""
    return actor_of(request, "user", operator.id, operator.email)


OperatingActor = Annotated[Actor, Depends(operating_actor)]


@router.get("")
def list_operators(actor: OperatingActor, session: SessionDep) -> Operators:
    """Lists who operates the platform."""
    operators = OperatorService(session, actor).list_operators()
    return Operators(data=[UserView.model_validate(user) for user in operators])


@router.post("", status_code=201)
def create_operator(
    body: OperatorCreate, actor: OperatingActor, session: SessionDep, settings: SettingsDep
) -> OperatorMade:
    """Makes an existing user a platform operator, who sees the whole Dagster UI.

    Of an account whose e-mail address nobody has proven, password, sessions, API keys and links
    end: anybody may have made it. The answer then has a link for a new password.
    """
    made = OperatorService(session, actor).add_operator(body.email, settings)
    return OperatorMade(
        **UserView.model_validate(made.user).model_dump(),
        link=made.link.link if made.link else None,
        link_expires_at=made.link.expires_at if made.link else None,
    )


@router.delete("/{user_id}", status_code=204)
def remove_operator(user_id: int, actor: OperatingActor, session: SessionDep) -> None:
    """Makes an operator an ordinary user again; the last one stays."""
    OperatorService(session, actor).remove_operator(user_id)
