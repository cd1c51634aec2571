"""What models select from, for one org: read from their text, without dbt."""

from sqlalchemy.orm import Session

from control_plane.transformations.references import models_in, tables_in
from control_plane.transformations.repository import TransformationRepository
from control_plane.uploads.service import list_uploads, tables_made_by


def implied_edges(session: Session, org_id: int) -> list[tuple[str, int, int]]:
    """Returns what models select from: type and id of the upstream target, id of the model."""
    rows = TransformationRepository(session, org_id).list_all()
    makers = {
        table: upload.id
        for upload in list_uploads(session, org_id)
        for table in tables_made_by(session, org_id, upload.id)
    }
    by_name = {(row.connection_id, row.name): row.id for row in rows}
    edges: list[tuple[str, int, int]] = []
    for row in rows:
        tables = {(row.connection_id, *table) for table in tables_in(row.sql)}
        models = {(row.connection_id, name) for name in models_in(row.sql)}
        edges += [("upload", makers[table], row.id) for table in tables & makers.keys()]
        edges += [("transformation", by_name[model], row.id) for model in models & by_name.keys()]
    return edges
