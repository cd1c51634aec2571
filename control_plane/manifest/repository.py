"""Reads and writes manifests; a published one is never changed."""

from sqlalchemy import select, text

from control_plane.core.clock import utc_now
from control_plane.manifest.models import CurrentManifest, Manifest
from control_plane.tenancy.repository import TenantRepository


class ManifestRepository(TenantRepository[Manifest]):
    """The manifests of one org."""

    model = Manifest
    noun = "manifest"

    def lock_publishing(self) -> None:
        """Lets one publication of this org run at a time, until the transaction ends."""
        self.session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('publish', :org_id))"),
            {"org_id": self.org_id},
        )

    def find_by_sha256(self, sha256: str) -> Manifest | None:
        """Returns the manifest of this name."""
        return self.session.scalar(self.base().where(Manifest.sha256 == sha256))

    def find_current(self) -> tuple[Manifest, CurrentManifest] | None:
        """Returns the current manifest and when it became that."""
        row = self.session.execute(
            select(Manifest, CurrentManifest)
            .join(CurrentManifest, CurrentManifest.manifest_id == Manifest.id)
            .where(Manifest.org_id == self.org_id, CurrentManifest.org_id == self.org_id)
        ).one_or_none()
        return None if row is None else (row[0], row[1])

    def make_current(self, manifest: Manifest) -> CurrentManifest:
        """Makes new runs use `manifest`."""
        current = self.session.scalar(
            select(CurrentManifest).where(CurrentManifest.org_id == self.org_id)
        )
        if current is None:
            current = CurrentManifest(org_id=self.org_id, manifest_id=manifest.id)
            self.session.add(current)
        current.manifest_id = manifest.id
        current.published_at = utc_now()
        self.session.flush()
        return current
