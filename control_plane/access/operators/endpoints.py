"""`/api/v1/system/operators`: who runs the platform."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from control_plane.access.caller import OperatorDep
from control_plane.access.sign_in.schemas import Email, UserView
from control_plane.access.users.service import make_operator
from control_plane.core.dependencies import SessionDep

router = APIRouter(prefix="/system", tags=["platform"])


class OperatorCreate(BaseModel):
    """The user who becomes a platform operator."""

    model_config = ConfigDict(extra="forbid")

    email: Email


@router.post("/operators", status_code=201)
def create_operator(body: OperatorCreate, operator: OperatorDep, session: SessionDep) -> UserView:
    """Makes an existing user a platform operator, who sees the whole Dagster UI."""
    return UserView.model_validate(make_operator(session, body.email))
