"""The manifest: everything that one org's Dagster code location is built from.

It is immutable and named by the SHA-256 of its canonical JSON (architecture, decision 4). It
holds no secret: connections appear by slug and connector only.
"""

import hashlib
import json
from typing import Literal

from pydantic import ValidationError

from datanika_manifest.automation import FreshnessPolicy, Schedule
from datanika_manifest.base import Frozen
from datanika_manifest.names import Slug
from datanika_manifest.transformations import DbtProject
from datanika_manifest.uploads import Upload

FORMAT_VERSION = 1


class ConnectionRef(Frozen):
    """A connection that definitions name; its settings and secrets stay in the control plane."""

    id: int
    slug: Slug
    connector: str


class CodeLocation(Frozen):
    """One org's definitions."""

    format_version: Literal[1] = FORMAT_VERSION
    org_id: int
    org: Slug
    connections: tuple[ConnectionRef, ...] = ()
    uploads: tuple[Upload, ...] = ()
    dbt_projects: tuple[DbtProject, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    freshness_policies: tuple[FreshnessPolicy, ...] = ()

    def canonical_json(self) -> str:
        """Returns the one JSON text of this manifest: sorted keys, no spaces."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )

    def sha256(self) -> str:
        """Returns the SHA-256 of the canonical JSON, the manifest's name."""
        return sha256_of(self.canonical_json())


class ManifestError(ValueError):
    """A text is not the manifest that it claims to be."""


def sha256_of(text: str) -> str:
    """Returns the hexadecimal SHA-256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(text: str, *, sha256: str, org: str) -> CodeLocation:
    """Reads a published manifest and checks that it is the one that was asked for.

    Args:
        text: The canonical JSON.
        sha256: The name under which it was published.
        org: The slug of the org that it must belong to.

    Raises:
        ManifestError: The text has another hash, belongs to another org, or is of a format
            that this version does not know.
    """
    if sha256_of(text) != sha256:
        raise ManifestError(f"The manifest's text does not have the SHA-256 {sha256}.")
    try:
        location = CodeLocation.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise ManifestError(
            f"Manifest {sha256} has fields this version refuses: {fields}"
        ) from None
    if location.org != org:
        raise ManifestError(f"Manifest {sha256} belongs to org '{location.org}', not '{org}'.")
    return location
