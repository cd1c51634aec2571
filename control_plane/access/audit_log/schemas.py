"""What the API takes and gives of the audit logs."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from control_plane.audit.reading import EntryFilter
from control_plane.tenancy.repository import MAXIMUM_BIGINT


class ActorKind(StrEnum):
    """Who does things."""

    USER = "user"
    API_KEY = "api_key"
    SYSTEM = "system"


class AuditEntryView(BaseModel):
    """One thing that somebody did."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    occurred_at: datetime
    actor_kind: str
    actor_id: int | None
    actor_name: str
    action: str
    resource_type: str
    resource_id: str | None
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None
    ip_address: str | None
    request_id: str | None


@dataclass(frozen=True)
class AuditFilters:
    """Which entries are listed."""

    action: Annotated[str | None, Query(max_length=60, description="`create`, `login`, …")] = None
    resource_type: Annotated[
        str | None, Query(max_length=60, description="`connection`, `run`, …")
    ] = None
    resource_id: Annotated[str | None, Query(max_length=100, description="Which one.")] = None
    user_id: Annotated[
        int | None, Query(ge=1, le=MAXIMUM_BIGINT, description="What this user did.")
    ] = None
    actor_kind: Annotated[ActorKind | None, Query(description="What kind of actor.")] = None
    since: Annotated[
        AwareDatetime | None, Query(description="From this time on, with its time zone.")
    ] = None
    until: Annotated[
        AwareDatetime | None, Query(description="Before this time, with its time zone.")
    ] = None

    def wanted(self) -> EntryFilter:
        """Returns the filter of the log."""
        return EntryFilter(**vars(self))

    def given(self) -> dict[str, Any]:
        """Returns what was asked for, for the entry that says so."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in vars(self).items()
            if value is not None
        }
