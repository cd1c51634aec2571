"""What health checks and the gateway are told."""

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests can be served, and what is missing."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]


class SessionView(BaseModel):
    """Who a session or a service token belongs to.

    The org is the one that a person's session works in; null where there is none, where it is
    suspended, and where they are no member any more.
    """

    kind: Literal["user", "service"]
    name: str
    email: str | None = None
    is_platform_operator: bool = False
    org: str | None = None
    org_id: int | None = None
    role: str | None = None
    permissions: list[str] | None = None


class LoginForm(BaseModel):
    """What the login page sends; unknown fields do not matter to a form."""

    email: str = Field(max_length=320)
    password: SecretStr = Field(max_length=1000)
    next: str | None = None
    captcha_token: str | None = None
