"""dbt's own parsed manifest, as a build takes it up.

A project is parsed once, without credentials; a build starts from that. This module knows dbt's
manifest classes and nothing of jobs.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from datanika_dagster.transformations.project import (
    PARSED,
    PARTIAL_PARSE_FILE,
    VERSIONS_FILE,
    dbt_versions,
)
from datanika_dagster.transformations.warehouse import PARSE_DATABASE

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


def load(directory: Path, *, database: str) -> "Manifest | None":
    """Returns the project's manifest for a build in `database`.

    Args:
        directory: The project's directory.
        database: The warehouse's database. dbt fixed a placeholder in each relation when it
            parsed, because the parser has no connection.

    Returns:
        None where another version of dbt parsed the project, or where nothing is left of what
        it wrote: dbt then parses the project again.
    """
    # Only jobs pay for this import: it takes more than a second.
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415

    path = directory / PARSED / PARTIAL_PARSE_FILE
    versions = (directory / VERSIONS_FILE).read_text(encoding="utf-8")
    if versions != dbt_versions() or not path.is_file() or path.stat().st_size == 0:
        return None
    manifest = Manifest.from_msgpack(path.read_bytes())
    placeholder, actual = f'"{PARSE_DATABASE}".', f'"{database}".'
    for node in (*manifest.nodes.values(), *manifest.sources.values()):
        if node.database == PARSE_DATABASE:
            node.database = database
        relation = getattr(node, "relation_name", None)
        if relation and relation.startswith(placeholder):
            node.relation_name = actual + relation.removeprefix(placeholder)
    return manifest
