"""From dbt's manifest.json to the nodes of the manifest that the planes exchange.

Pure functions: what dbt parsed is compared with what was declared, and whatever a model's own
`config()` moved elsewhere (another schema, name or materialization) is refused by name.
"""

from typing import Any

from datanika_dagster.transformations.checks import describe, named_tests
from datanika_dagster.transformations.errors import TransformationError
from datanika_dagster.transformations.project import PROJECT_NAME, asset_key
from datanika_manifest.names import AssetKey
from datanika_manifest.transformations import (
    DbtNode,
    DbtTest,
    Materialization,
    ModelSource,
    ProjectSource,
)


def nodes_of(source: ProjectSource, manifest: dict[str, Any]) -> list[DbtNode]:
    """Returns the assets of a parsed project, in the order of the declared models.

    Ephemeral models are no assets: what selects from one depends on what it selects from.

    Args:
        source: What the project was generated from.
        manifest: dbt's manifest.json of that project.

    Raises:
        TransformationError: A model's own configuration contradicts its declaration, or an
            ephemeral model has tests.
    """
    graph = _Graph(source, manifest)
    tests = _tests_by_name(manifest)
    nodes: list[DbtNode] = []
    for model in source.models:
        node = manifest["nodes"].get(unique_id(model.name))
        _check_declared(model, node)
        if model.materialization is Materialization.EPHEMERAL:
            _check_untested(model)
            continue
        nodes.append(_node(source, model, graph, tests))
    return nodes


def unique_id(model: str) -> str:
    """Returns dbt's id of a model of a generated project."""
    return f"model.{PROJECT_NAME}.{model}"


class _Graph:
    """Which assets a node selects from, through ephemeral models."""

    def __init__(self, source: ProjectSource, manifest: dict[str, Any]) -> None:
        self._parents: dict[str, list[str]] = manifest["parent_map"]
        self._assets: dict[str, AssetKey] = {
            unique_id(model.name): asset_key(source, model)
            for model in source.models
            if model.materialization is not Materialization.EPHEMERAL
        }
        for name, node in manifest["sources"].items():
            first, second, third, fourth = node["config"]["meta"]["dagster"]["asset_key"]
            self._assets[name] = (first, second, third, fourth)

    def upstream(self, name: str) -> tuple[AssetKey, ...]:
        found: set[AssetKey] = set()
        pending = list(self._parents[name])
        while pending:
            parent = pending.pop()
            if parent in self._assets:
                found.add(self._assets[parent])
            else:
                pending.extend(self._parents[parent])
        return tuple(sorted(found))


def _node(
    source: ProjectSource, model: ModelSource, graph: _Graph, tests: dict[str, str]
) -> DbtNode:
    name = unique_id(model.name)
    return DbtNode(
        unique_id=name,
        transformation_id=model.transformation_id,
        resource_type="model",
        name=model.name,
        asset_key=asset_key(source, model),
        materialization=model.materialization.value,
        description=model.description,
        depends_on=graph.upstream(name),
        tests=tuple(
            DbtTest(
                unique_id=tests[named.dbt_name],
                check_name=named.check_name,
                severity=named.test.severity,
                description=describe(named.test),
            )
            for named in named_tests(model)
        ),
    )


def _tests_by_name(manifest: dict[str, Any]) -> dict[str, str]:
    return {
        node["name"]: name
        for name, node in manifest["nodes"].items()
        if node["resource_type"] == "test"
    }


def _check_declared(model: ModelSource, node: dict[str, Any] | None) -> None:
    if node is None:
        raise TransformationError(
            f"Model '{model.name}' switches itself off (enabled=false).", field=model.name
        )
    declared = {
        "materialized": (model.materialization.value, node["config"]["materialized"]),
        "schema": (model.schema_name, node["schema"]),
        "alias": (model.name, node["alias"]),
    }
    for setting, (expected, actual) in declared.items():
        if actual != expected:
            raise TransformationError(
                f"Model '{model.name}' sets {setting}='{actual}' in its SQL but is declared with "
                f"'{expected}'; set it in the declaration only.",
                field=model.name,
            )


def _check_untested(model: ModelSource) -> None:
    if model.tests:
        raise TransformationError(
            f"Model '{model.name}' is ephemeral: it is never stored, so it cannot have tests.",
            field=model.name,
        )
