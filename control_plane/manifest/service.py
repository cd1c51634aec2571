"""Publishes manifests and hands them out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.core.errors import NotFound
from control_plane.manifest.errors import NotPublished
from control_plane.manifest.models import CurrentManifest, Manifest
from control_plane.manifest.repository import ManifestRepository
from control_plane.manifest.schemas import ManifestState, ManifestText, Published
from datanika_manifest.code_location import CodeLocation, sha256_of


class DefinitionsHost(Protocol):
    """What knows which manifests are loaded: Dagster."""

    def loaded_manifests(self) -> dict[str, str]:
        """Returns the SHA-256 of the loaded manifest by org."""
        ...


@dataclass(frozen=True)
class PublishedManifest:
    """A published manifest, read."""

    sha256: str
    text: str
    location: CodeLocation
    published_at: datetime


def publish(
    session: Session, caller: Caller, compile_location: Callable[[], CodeLocation]
) -> Published:
    """Publishes what the org's rows say now; unchanged rows publish nothing new.

    Args:
        session: Inside the org.
        caller: Who publishes.
        compile_location: Makes the manifest; refuses a bad row by name.

    Raises:
        Invalid: A row cannot be published; nothing changed.
    """
    manifests = ManifestRepository(session, caller.org_id)
    manifests.lock_publishing()
    text = compile_location().canonical_json()
    sha256 = sha256_of(text)
    current = manifests.find_current()
    if current is not None and current[0].sha256 == sha256:
        return Published(sha256=sha256, changed=False, published_at=current[1].published_at)
    manifest = manifests.find_by_sha256(sha256) or manifests.add(
        Manifest(org_id=caller.org_id, sha256=sha256, text=text, created_by=caller.actor.name)
    )
    head = manifests.make_current(manifest)
    old = {"sha256": current[0].sha256} if current else None
    caller.audit(session).record("publish", "manifest", sha256, old=old, new={"sha256": sha256})
    return Published(sha256=sha256, changed=True, published_at=head.published_at)


def get_current_manifest(session: Session, org_id: int) -> PublishedManifest:
    """Returns the manifest that new runs use.

    Raises:
        NotPublished: The org has published nothing.
    """
    manifest, head = _current(session, org_id)
    return _read(manifest, head.published_at)


def get_current_sha256(session: Session, org_id: int) -> str:
    """Returns the name of the manifest that new runs use, without reading it.

    Raises:
        NotPublished: The org has published nothing.
    """
    return _current(session, org_id)[0].sha256


def get_manifest(session: Session, org_id: int, sha256: str) -> PublishedManifest:
    """Returns a manifest by its name, also one that is not current any more.

    Raises:
        NotFound: The org has no such manifest.
    """
    manifest = ManifestRepository(session, org_id).find_by_sha256(sha256)
    if manifest is None:
        raise NotFound(f"There is no manifest '{sha256}'.")
    return _read(manifest, manifest.created_at)


def manifest_state(session: Session, caller: Caller, host: DefinitionsHost) -> ManifestState:
    """Returns the current manifest and whether Dagster has loaded it.

    Raises:
        NotPublished: The org has published nothing.
        Unavailable: Dagster does not answer.
    """
    manifest, head = _current(session, caller.org_id)
    is_live = host.loaded_manifests().get(caller.org) == manifest.sha256
    return ManifestState(
        sha256=manifest.sha256,
        published_at=head.published_at,
        state="live" if is_live else "published",
    )


def text_of(manifest: PublishedManifest) -> ManifestText:
    """Returns what code locations and runs are sent."""
    return ManifestText(sha256=manifest.sha256, manifest=manifest.text)


def _current(session: Session, org_id: int) -> tuple[Manifest, CurrentManifest]:
    current = ManifestRepository(session, org_id).find_current()
    if current is None:
        raise NotPublished("Nothing is published yet; POST …/publish first.")
    return current


def _read(manifest: Manifest, published_at: datetime) -> PublishedManifest:
    # Its hash is checked by whoever receives it; here it comes from a table nobody can change.
    location = CodeLocation.model_validate_json(manifest.text)
    return PublishedManifest(manifest.sha256, manifest.text, location, published_at)
