"""Which dbt selectors match exactly the nodes and tests that a step selected.

The ids come from the published project, never from text that a person typed; names hold no
character that the selector grammar knows (`hygiene`, `checks`), and each selector goes to dbt as a
value of its own (docs/decisions/0032-a-dbt-job-reports-ids-the-run-knows-what-they-mean.md).
"""

from collections.abc import Collection

from datanika_dagster.transformations.errors import BuildFailedError
from datanika_dagster.transformations.project import PROJECT_NAME
from datanika_manifest.transformations import DbtProject


def selectors(project: DbtProject, unique_ids: Collection[str]) -> tuple[str, ...]:
    """Returns one selector for each id.

    Args:
        project: The published project.
        unique_ids: dbt's ids of nodes and tests.

    Raises:
        BuildFailedError: An id is not in the project.
    """
    # dbt's fully qualified name is the project, the folders under models/, and the name.
    known: dict[str, str] = {}
    for node in project.nodes:
        _, _, schema, _ = node.asset_key
        known[node.unique_id] = f"fqn:{PROJECT_NAME}.{schema}.{node.name}"
        for test in node.tests:
            _, _, name, _ = test.unique_id.split(".")
            known[test.unique_id] = f"fqn:{PROJECT_NAME}.{name}"
    unknown = sorted(set(unique_ids) - set(known))
    if unknown:
        raise BuildFailedError(f"The published dbt project has no '{unknown[0]}'.")
    return tuple(known[name] for name in unique_ids)
