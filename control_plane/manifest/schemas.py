"""What the API gives for manifests."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class Published(BaseModel):
    """What publishing did."""

    sha256: str
    changed: bool
    published_at: datetime


class ManifestState(BaseModel):
    """The current manifest; `live` once Dagster has loaded it."""

    sha256: str
    published_at: datetime
    state: Literal["published", "live"]


class ManifestText(BaseModel):
    """A manifest's canonical JSON, for code locations and runs."""

    sha256: str
    manifest: str


class Location(BaseModel):
    """An org that has published something, for the supervisor."""

    org_id: int
    org: str
    sha256: str
    token: str


class Locations(BaseModel):
    """All of them."""

    locations: list[Location]
