"""Answers about a manifest: which assets a target has, which connections assets need."""

from collections.abc import Iterable, Sequence

from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import AssetKey


def all_asset_keys(location: CodeLocation) -> list[AssetKey]:
    """Returns the keys of every asset, uploads first."""
    tables = [table.asset_key for upload in location.uploads for table in upload.tables]
    nodes = [node.asset_key for project in location.dbt_projects for node in project.nodes]
    return tables + nodes


def upload_asset_keys(location: CodeLocation, upload_id: int) -> list[AssetKey]:
    """Returns the keys of an upload's tables; empty where the manifest does not have it."""
    return [
        table.asset_key
        for upload in location.uploads
        if upload.id == upload_id
        for table in upload.tables
    ]


def transformation_asset_keys(location: CodeLocation, transformation_id: int) -> list[AssetKey]:
    """Returns the keys of a transformation's models; empty where the manifest does not have it."""
    return [
        node.asset_key
        for project in location.dbt_projects
        for node in project.nodes
        if node.transformation_id == transformation_id
    ]


def target_asset_keys(location: CodeLocation, target_type: str, target_id: int) -> list[AssetKey]:
    """Returns the keys of what a target makes; empty where the manifest does not have it."""
    find = upload_asset_keys if target_type == "upload" else transformation_asset_keys
    return find(location, target_id)


def connection_ids(
    location: CodeLocation,
    asset_keys: Iterable[Sequence[str]] | None,
    checked_keys: Iterable[Sequence[str]] | None = None,
) -> list[int]:
    """Returns the ids of the connections that a run of these assets and checks needs.

    Args:
        location: The manifest that the run is pinned to.
        asset_keys: The assets that the run selects.
        checked_keys: The assets whose checks the run selects. A run that says neither runs
            everything.
    """
    is_everything = asset_keys is None and checked_keys is None
    selected = {tuple(key) for keys in (asset_keys, checked_keys) for key in keys or ()}
    wanted = None if is_everything else selected
    slugs: set[str] = set()
    for upload in location.uploads:
        if wanted is None or wanted.intersection(table.asset_key for table in upload.tables):
            slugs |= {upload.source, upload.destination}
    for project in location.dbt_projects:
        if wanted is None or wanted.intersection(node.asset_key for node in project.nodes):
            slugs.add(project.connection)
    return sorted(connection.id for connection in location.connections if connection.slug in slugs)
