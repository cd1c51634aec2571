"""Project sources that tests share: an airline's raw tables, staging views, a mart."""

from pathlib import Path

from datanika_manifest.transformations import ProjectSource


def model(name: str, sql: str, **more) -> dict:
    return {"name": name, "schema_name": "mart", "sql": sql, "materialization": "view", **more}


def source(*models: dict, tables: tuple[tuple[str, str], ...] = ()) -> ProjectSource:
    return ProjectSource.model_validate(
        {
            "org_id": 7,
            "org": "acme",
            "connection": "warehouse",
            "connector": "managed_warehouse",
            "models": models,
            "sources": [
                {
                    "schema_name": schema,
                    "table": table,
                    "asset_key": ["acme", "warehouse", schema, table],
                }
                for schema, table in tables
            ],
        }
    )


def payload(project: ProjectSource, projects_dir: Path) -> dict:
    return {"project": project.model_dump(mode="json"), "projects_dir": str(projects_dir)}


def test(type_: str, column: str, **more) -> dict:
    return {"type": type_, "column": column, **more}


RAW = (("raw", "flights"), ("raw", "planes"))


def airline() -> ProjectSource:
    """Two staging views, one mart table, one incremental table; one test warns, as real data do."""
    return source(
        model(
            "stg_flights",
            "select * from {{ source('raw', 'flights') }}",
            schema_name="staging",
            transformation_id=11,
            tests=[
                test("not_null", "flight_id"),
                test("unique", "flight_id"),
                test("accepted_values", "origin", values=["JFK", "O'Hare"]),
                test("relationships", "tailnum", to="stg_planes", severity="warn"),
            ],
        ),
        model("stg_planes", "select * from {{ source('raw', 'planes') }}", schema_name="staging"),
        model(
            "flights_by_origin",
            "select origin, count(*) as flights from {{ ref('stg_flights') }} group by origin",
            materialization="table",
            tests=[test("unique", "origin")],
        ),
        model(
            "flight_log",
            "select flight_id, origin from {{ ref('stg_flights') }}\n"
            "{% if is_incremental() %}where flight_id > (select max(flight_id) from {{ this }})"
            "{% endif %}",
            materialization="incremental",
        ),
        tables=RAW,
    )
