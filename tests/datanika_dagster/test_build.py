"""From a golden manifest to definitions: keys, dependencies, checks, schedules, policies."""

import gc
import time

import dagster as dg
import pytest

from datanika_dagster.build import build_definitions
from datanika_manifest import transformations
from datanika_manifest.uploads import Upload, UploadTable
from tests.datanika_dagster.support.manifests import manifest, upload


def graph_of(definitions: dg.Definitions):
    return definitions.resolve_asset_graph()


def test_the_golden_manifest_becomes_these_assets():
    definitions = build_definitions(manifest())
    dg.Definitions.validate_loadable(definitions)
    graph = graph_of(definitions)
    assert {
        key.to_user_string(): sorted(
            parent.to_user_string() for parent in graph.get(key).parent_keys
        )
        for key in graph.get_all_asset_keys()
    } == {
        "acme/warehouse/raw/flights": [],
        "acme/warehouse/raw/planes": [],
        "acme/warehouse/staging/stg_flights": ["acme/warehouse/raw/flights"],
        "acme/warehouse/mart/delays": ["acme/warehouse/staging/stg_flights"],
    }
    assert {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys} == {
        ("acme/warehouse/staging/stg_flights", "not_null_flight_id"),
        ("acme/warehouse/staging/stg_flights", "relationships_tailnum_planes"),
    }
    flights = graph.get(dg.AssetKey(["acme", "warehouse", "raw", "flights"]))
    assert flights.group_name == "load_airline"
    assert flights.kinds == {"dlt", "postgres"}
    assert flights.metadata["dagster/table_name"] == "raw.flights"


def test_operations_pools_and_the_executor_are_named_for_the_org():
    definitions = build_definitions(manifest())
    assets = [a for a in definitions.assets or () if isinstance(a, dg.AssetsDefinition)]
    assert {asset.op.name: asset.op.pool for asset in assets} == {
        "upload__load_airline": "acme__upload__load_airline",
        "dbt__warehouse": "acme__dbt__warehouse",
    }
    assert definitions.executor is dg.in_process_executor


def test_schedules_keep_their_timezone_and_whether_they_run():
    definitions = build_definitions(manifest())
    schedules = {schedule.name: schedule for schedule in definitions.schedules or ()}
    nightly, paused = schedules["schedule_3"], schedules["schedule_4"]
    assert (nightly.cron_schedule, nightly.execution_timezone) == ("0 3 * * *", "Europe/Vienna")
    assert nightly.default_status is dg.DefaultScheduleStatus.RUNNING
    assert paused.default_status is dg.DefaultScheduleStatus.STOPPED
    job = definitions.resolve_job_def("job__schedule_3")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "acme/warehouse/raw/flights",
        "acme/warehouse/staging/stg_flights",
    }


def test_freshness_policies_are_dagsters_own():
    graph = graph_of(build_definitions(manifest()))
    age = graph.get(dg.AssetKey(["acme", "warehouse", "raw", "flights"])).freshness_policy
    cron = graph.get(dg.AssetKey(["acme", "warehouse", "staging", "stg_flights"])).freshness_policy
    assert age.fail_window.to_timedelta().total_seconds() == 3600
    assert (cron.deadline_cron, cron.timezone) == ("0 6 * * *", "Europe/Vienna")


def test_a_policy_that_only_warns_never_fails():
    policy = (
        manifest()
        .freshness_policies[0]
        .model_copy(update={"severity": transformations.TestSeverity.WARN})
    )
    graph = graph_of(
        build_definitions(manifest().model_copy(update={"freshness_policies": (policy,)}))
    )
    age = graph.get(dg.AssetKey(["acme", "warehouse", "raw", "flights"])).freshness_policy
    assert age.warn_window.to_timedelta().total_seconds() == 3600
    assert age.fail_window.to_timedelta().days > 30_000


def test_a_dependency_of_an_upload_is_upstream_of_all_its_tables():
    before = manifest()
    upstream = ("acme", "warehouse", "mart", "delays")
    second = upload("acme", "weather").model_copy(
        update={"id": 8, "slug": "load_weather", "depends_on": (upstream,)}
    )
    graph = graph_of(
        build_definitions(before.model_copy(update={"uploads": (*before.uploads, second)}))
    )
    weather = graph.get(dg.AssetKey(["acme", "warehouse", "raw", "weather"]))
    assert weather.parent_keys == {dg.AssetKey(list(upstream))}


def test_an_empty_manifest_is_loadable():
    empty = manifest().model_copy(
        update={"uploads": (), "dbt_projects": (), "schedules": (), "freshness_policies": ()}
    )
    dg.Definitions.validate_loadable(build_definitions(empty))


@pytest.mark.parametrize("count", [1000])
def test_a_thousand_tables_are_cheap(count):
    # The figure itself (one CPU-second) is the benchmark's; this notices when it gets lost.
    tables = tuple(
        UploadTable(
            source_schema="public",
            source_table=f"t{i}",
            target_table=f"t{i}",
            asset_key=("acme", "warehouse", "raw", f"t{i}"),
        )
        for i in range(count)
    )
    uploads = tuple(
        Upload.model_validate(
            upload("acme").model_dump()
            | {"id": i, "slug": f"load_{i}", "tables": tables[i * 10 : i * 10 + 10]}
        )
        for i in range(count // 10)
    )
    large = manifest().model_copy(
        update={"uploads": uploads, "dbt_projects": (), "schedules": (), "freshness_policies": ()}
    )
    # What other tests have left in this process is not what is measured.
    gc.collect()
    gc.freeze()
    try:
        started = time.process_time()
        graph = graph_of(build_definitions(large))
        assert len(graph.get_all_asset_keys()) == count
        assert time.process_time() - started < 3
    finally:
        gc.unfreeze()
