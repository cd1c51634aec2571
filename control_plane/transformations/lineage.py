"""What models select from, for one org: read from their text, without dbt."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from control_plane.transformations.models import Transformation
from control_plane.transformations.references import models_in, names_model, names_table, tables_in
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


def transformations_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the models that use a connection, an upload's tables or a model, for `core.usages`."""
    rows = TransformationRepository(session, org_id)
    found: Sequence[Transformation] = []
    if resource_type == "connection":
        found = rows.list_of_connection(resource_id)
    elif resource_type == "upload":
        tables = tables_made_by(session, org_id, resource_id)
        found = [
            row
            for row in rows.list_all()
            for connection_id, schema, table in sorted(tables)
            if row.connection_id == connection_id and names_table(row, schema, table)
        ]
    elif resource_type == "transformation" and (model := rows.find(resource_id)) is not None:
        siblings = rows.list_of_connection(model.connection_id)
        found = [row for row in siblings if row is not model and names_model(row, model.name)]
    return list(dict.fromkeys(f"transformation '{row.name}'" for row in found))
