"""What the API shows of sessions."""

from datetime import datetime

from pydantic import BaseModel, Field


class SessionView(BaseModel):
    """One sign-in on one device."""

    id: int
    created_at: datetime
    expires_at: datetime = Field(description="Renewing the tokens moves it.")
    ip_address: str | None = Field(description="Where it was used from to sign in or renew, last.")
    user_agent: str | None = Field(description="What the client called itself then.")
    is_current: bool = Field(description="Whether it is the session of this request.")
    current_org: str | None = Field(description="The org that it works in.")
