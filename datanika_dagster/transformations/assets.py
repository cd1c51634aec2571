"""A dbt project as Dagster sees it: one step, an asset per node, an asset check per test.

Definitions and the run's side of the step; dbt itself runs in the job (`build_job.py`). Nothing
here imports dbt: the manifest already has what dbt parsed when it was published.
"""

from collections.abc import Iterator
from functools import partial

import dagster as dg

from datanika_dagster import settings, specs
from datanika_dagster.automation.freshness import PolicyByKey
from datanika_dagster.launcher import credentials, run_side
from datanika_dagster.launcher.job_processes import Terms
from datanika_dagster.transformations.events import translate
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import join
from datanika_manifest.run_records import DBT_STEP
from datanika_manifest.transformations import DbtNode, DbtProject

DEADLINE_SECONDS = 6 * 3600.0


def dbt_assets(
    manifest: CodeLocation, project: DbtProject, freshness: PolicyByKey
) -> dg.AssetsDefinition:
    """Returns the assets and checks of one dbt project.

    Args:
        manifest: The manifest that the project is part of.
        project: The parsed project.
        freshness: The policy of each asset that has one.
    """
    connectors = {connection.slug: connection.connector for connection in manifest.connections}
    connector = connectors.get(project.connection)

    @dg.multi_asset(
        name=join(DBT_STEP, project.connection),
        specs=[_spec(node, connector, freshness) for node in project.nodes],
        check_specs=[check for node in project.nodes for check in _checks(node)],
        can_subset=True,
        pool=specs.pool(manifest.org, "dbt", project.connection),
    )
    def build(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield from _build(context, manifest, project)

    return build


def _spec(node: DbtNode, connector: str | None, freshness: PolicyByKey) -> dg.AssetSpec:
    _, _, schema, table = node.asset_key
    return dg.AssetSpec(
        key=specs.key(node.asset_key),
        deps=[specs.key(upstream) for upstream in node.depends_on],
        description=node.description or None,
        group_name=schema,
        kinds=specs.kinds("dbt", connector),
        metadata={
            "dagster/table_name": f"{schema}.{table}",
            "datanika/materialization": node.materialization,
        },
        freshness_policy=freshness.get(node.asset_key),
    )


def _checks(node: DbtNode) -> Iterator[dg.AssetCheckSpec]:
    for test in node.tests:
        yield dg.AssetCheckSpec(
            name=test.check_name,
            asset=specs.key(node.asset_key),
            description=test.description or None,
            metadata={"datanika/severity": test.severity.value},
        )


def _build(
    context: dg.AssetExecutionContext, manifest: CodeLocation, project: DbtProject
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    granted = credentials.of_run(context, manifest)
    nodes, tests = _selected(context, project)
    payload = {
        "project": project.model_dump(mode="json"),
        "nodes": nodes,
        "tests": tests,
        "projects_dir": str(settings.read().projects_dir()),
        "org": manifest.org,
        "org_id": manifest.org_id,
        "run_id": context.run.run_id,
        **granted.networks,
    }
    yield from run_side.run_job(
        context,
        "dbt_build",
        payload,
        granted.only(project.connection),
        Terms(manifest.org_id, DEADLINE_SECONDS),
        partial(translate, project),
    )


def _selected(
    context: dg.AssetExecutionContext, project: DbtProject
) -> tuple[list[str], list[str]]:
    nodes = [
        node.unique_id
        for node in project.nodes
        if specs.key(node.asset_key) in context.selected_asset_keys
    ]
    tests = [
        test.unique_id
        for node in project.nodes
        for test in node.tests
        if dg.AssetCheckKey(specs.key(node.asset_key), test.check_name)
        in context.selected_asset_check_keys
    ]
    return nodes, tests
