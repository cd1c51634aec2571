"""`POST /api/v1/auth/password`: a person's own password."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.access.current_session import CurrentSessionDep
from control_plane.access.password_change.service import PasswordChangeDep

router = APIRouter(prefix="/auth/password", tags=["sign-in"])


class NewPassword(BaseModel):
    """The present password and the next one."""

    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: SecretStr = Field(description="10 characters at least, 72 bytes at most.")


@router.post("", status_code=204)
def change_password(
    body: NewPassword, current: CurrentSessionDep, change: PasswordChangeDep
) -> None:
    """Changes the signed-in user's password and ends all their other sessions."""
    change.change(
        current, body.current_password.get_secret_value(), body.new_password.get_secret_value()
    )
