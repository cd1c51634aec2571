"""A manifest with two uploads, one dbt project and a schedule."""

from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation, ConnectionRef
from datanika_manifest.transformations import DbtNode, DbtProject
from datanika_manifest.uploads import RowFilter, Upload, UploadTable, WriteDisposition

ORDERS = ("acme", "warehouse", "shop", "orders")
ITEMS = ("acme", "warehouse", "shop", "items")
PEOPLE = ("acme", "warehouse", "crm", "people")
DAILY = ("acme", "warehouse", "marts", "daily")


def table(key):
    return UploadTable(
        source_schema="public", source_table=key[-1], target_table=key[-1], asset_key=key
    )


def upload(number, slug, source, keys, **more):
    return Upload(
        id=number,
        slug=slug,
        name=slug,
        source=source,
        destination="warehouse",
        target_schema=slug,
        tables=tuple(map(table, keys)),
        write_disposition=WriteDisposition.REPLACE,
        **more,
    )


def manifest():
    """Returns a fresh manifest, equal each time."""
    umlaut = RowFilter(column="city", op="in", value=["Zürich", "Łódź"])
    return CodeLocation(
        org_id=7,
        org="acme",
        connections=(
            ConnectionRef(id=3, slug="warehouse", connector="managed_warehouse"),
            ConnectionRef(id=1, slug="shop_db", connector="postgres"),
            ConnectionRef(id=2, slug="crm_db", connector="postgres"),
        ),
        uploads=(
            upload(11, "shop", "shop_db", (ORDERS, ITEMS)),
            upload(12, "crm", "crm_db", (PEOPLE,), filters=(umlaut,)),
        ),
        dbt_projects=(
            DbtProject(
                connection="warehouse",
                sha256="a" * 64,
                nodes=(
                    DbtNode(
                        unique_id="model.acme.daily",
                        transformation_id=21,
                        resource_type="model",
                        name="daily",
                        asset_key=DAILY,
                        materialization="table",
                        depends_on=(ORDERS,),
                    ),
                ),
            ),
        ),
        schedules=(
            Schedule(
                id=5,
                name="schedule_5",
                cron="0 6 * * *",
                timezone="UTC",
                is_active=True,
                asset_keys=(ORDERS,),
            ),
        ),
    )
