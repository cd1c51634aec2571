"""Manifests for tests: an org with one upload, one dbt project, a schedule and two policies."""

from datanika_manifest.automation import FreshnessPolicy, Schedule
from datanika_manifest.code_location import CodeLocation, ConnectionRef
from datanika_manifest.transformations import DbtNode, DbtProject, DbtTest, TestSeverity
from datanika_manifest.uploads import Upload, UploadTable, WriteDisposition

SOURCE, WAREHOUSE = "airline", "warehouse"


def upload_table(org: str, name: str) -> UploadTable:
    return UploadTable(
        source_schema="public",
        source_table=name,
        target_table=name,
        asset_key=(org, WAREHOUSE, "raw", name),
    )


def upload(org: str, *tables: str) -> Upload:
    return Upload(
        id=7,
        slug="load_airline",
        name="Load airline",
        source=SOURCE,
        destination=WAREHOUSE,
        target_schema="raw",
        tables=tuple(upload_table(org, table) for table in tables),
        write_disposition=WriteDisposition.REPLACE,
    )


def node(
    org: str,
    schema: str,
    name: str,
    depends_on: tuple[tuple[str, str, str, str], ...],
    tests: tuple[DbtTest, ...] = (),
    materialization: str = "view",
) -> DbtNode:
    return DbtNode(
        unique_id=f"model.datanika.{name}",
        transformation_id=1,
        resource_type="model",
        name=name,
        asset_key=(org, WAREHOUSE, schema, name),
        materialization=materialization,
        depends_on=depends_on,
        tests=tests,
    )


def manifest(org: str = "acme", tables: tuple[str, ...] = ("flights", "planes")) -> CodeLocation:
    flights = (org, WAREHOUSE, "raw", "flights")
    staged = (org, WAREHOUSE, "staging", "stg_flights")
    not_null = DbtTest(
        unique_id="test.datanika.not_null",
        check_name="not_null_flight_id",
        severity=TestSeverity.ERROR,
        description="flight_id is never null.",
    )
    relationship = DbtTest(
        unique_id="test.datanika.relationships",
        check_name="relationships_tailnum_planes",
        severity=TestSeverity.WARN,
    )
    return CodeLocation(
        org_id=1,
        org=org,
        connections=(
            ConnectionRef(id=1, slug=SOURCE, connector="postgres"),
            ConnectionRef(id=2, slug=WAREHOUSE, connector="managed_warehouse"),
        ),
        uploads=(upload(org, *tables),),
        dbt_projects=(
            DbtProject(
                connection=WAREHOUSE,
                sha256="0" * 64,
                nodes=(
                    node(org, "staging", "stg_flights", (flights,), (not_null, relationship)),
                    node(org, "mart", "delays", (staged,), materialization="table"),
                ),
            ),
        ),
        schedules=(
            Schedule(
                id=3,
                name="nightly",
                cron="0 3 * * *",
                timezone="Europe/Vienna",
                is_active=True,
                asset_keys=(flights, staged),
            ),
            Schedule(
                id=4,
                name="paused",
                cron="0 4 * * *",
                timezone="UTC",
                is_active=False,
                asset_keys=(flights,),
            ),
        ),
        freshness_policies=(
            FreshnessPolicy(asset_key=flights, max_age_seconds=3600, severity=TestSeverity.ERROR),
            FreshnessPolicy(
                asset_key=staged,
                deadline_cron="0 6 * * *",
                timezone="Europe/Vienna",
                severity=TestSeverity.WARN,
            ),
        ),
    )
