"""dbt's own parsed manifest, as a build takes it up.

A project is parsed once, without credentials; a build starts from that. This module knows dbt's
manifest classes and nothing of jobs.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from datanika_dagster.transformations.errors import BuildFailedError
from datanika_dagster.transformations.project import PARSED, PARTIAL_PARSE_FILE
from datanika_dagster.transformations.warehouse import PARSE_DATABASE

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


def load(directory: Path, *, database: str) -> "Manifest":
    """Returns the project's manifest for a build in `database`.

    Args:
        directory: The project's directory.
        database: The warehouse's database. dbt fixed a placeholder in each relation when it
            parsed, because the parser has no connection.
    """
    # Only jobs pay for this import: it takes more than a second.
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415

    manifest = Manifest.from_msgpack((directory / PARSED / PARTIAL_PARSE_FILE).read_bytes())
    placeholder, actual = f'"{PARSE_DATABASE}".', f'"{database}".'
    for node in (*manifest.nodes.values(), *manifest.sources.values()):
        if node.database == PARSE_DATABASE:
            node.database = database
        relation = getattr(node, "relation_name", None)
        if relation and relation.startswith(placeholder):
            node.relation_name = actual + relation.removeprefix(placeholder)
    return manifest


def selectors(manifest: "Manifest", unique_ids: Iterable[str]) -> tuple[str, ...]:
    """Returns dbt selectors that match exactly these nodes and tests.

    Names hold no character that the selector grammar knows (`hygiene`, `checks`), and each
    selector goes to dbt as a value of its own.

    Raises:
        BuildFailedError: An id is not in the project.
    """
    found: list[str] = []
    for unique_id in unique_ids:
        node = manifest.nodes.get(unique_id)
        if node is None:
            raise BuildFailedError(f"The published dbt project has no '{unique_id}'.")
        found.append("fqn:" + ".".join(node.fqn))
    return tuple(found)
