"""What health checks and the gateway are told."""

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests can be served, and what is missing."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]


class SessionView(BaseModel):
    """Who a session or a service token belongs to."""

    kind: Literal["user", "service"]
    name: str
    email: str | None = None
    is_platform_operator: bool = False
