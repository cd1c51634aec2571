"""The demo from beginning to end, in phases; the parts know nothing of each other."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from datanika_manifest.names import join
from datanika_manifest.run_records import DBT_STEP, UPLOAD_STEP
from datanika_stack.api_client import ApiClient
from datanika_stack.demo import definitions, verification
from datanika_stack.demo.display import Display
from datanika_stack.demo.journey import (
    DemoFailedError,
    Journey,
    Person,
    failures_of,
    rows_of,
    tests_of,
)
from datanika_stack.demo.local_stack import Addresses, LocalStack
from datanika_stack.demo.report import Report

# Which of the run's steps are which part of it.
_PARTS = {"load": join(UPLOAD_STEP, ""), "transform": join(DBT_STEP, "")}


def perform(stack: LocalStack, display: Display) -> Report:
    """Starts everything, does the job and compares the result with the source.

    Raises:
        DemoFailedError: A step did not do what it should.
        ApiError: The API refused or did not answer.
        StackError: The source database did not start.
        psycopg.Error: One of the databases refused something.
    """
    addresses, source_rows = _start(stack, display)
    owner = Person(definitions.OWNER_EMAIL, stack.owner_password())
    with ApiClient(addresses.api_url) as client:
        journey = Journey(client, display, owner)
        run = _travel(journey, stack, display)
        warehouse_url = journey.warehouse_login()["url"]
    with display.phase("verify", "Comparing the warehouse with the source"):
        tables, models = _count(run, source_rows, warehouse_url)
    return Report(
        org=journey.org,
        email=owner.email,
        password=owner.password,
        api_url=addresses.api_url,
        dagster_url=addresses.dagster_url,
        source_url=stack.source_url(),
        warehouse_url=warehouse_url,
        tables=tables,
        models=models,
        tests=tests_of(run),
        seconds=display.seconds | _step_seconds(run),
        failures=failures_of(run),
    )


def _start(stack: LocalStack, display: Display) -> tuple[Addresses, dict[str, int]]:
    """Starts the stack and fills the source at the same time: they do not need each other."""

    def fill() -> dict[str, int]:
        with display.phase("source", "Filling the source database with real data"):
            return stack.fill_source()

    stack.start_source()
    with ThreadPoolExecutor(max_workers=1) as pool:
        filling = pool.submit(fill)
        with display.phase("stack", "Starting the stack"):
            addresses = stack.start()
        return addresses, filling.result()


def _travel(journey: Journey, stack: LocalStack, display: Display) -> dict[str, Any]:
    with display.phase("sign_up", "Signing up"):
        journey.sign_up()
        journey.make_owner_an_operator(stack.operator())
    with display.phase("define", "Defining connections, load, models, tests and schedule"):
        journey.define(source_port=stack.ports.source, source_password=stack.reader_password())
    with display.phase("publish", "Publishing to Dagster"):
        journey.publish()
    with display.phase("run", "Running: load, transform, test"):
        return journey.run()


def _count(
    run: dict[str, Any], source_rows: dict[str, int], warehouse_url: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Returns rows per table and per model, counted in the warehouse."""
    tables = verification.count_tables(warehouse_url, source_rows)
    wrong = verification.differences(source_rows, tables, rows_of(run, "table"))
    if wrong:
        raise DemoFailedError("The warehouse is not what the source is: " + "; ".join(wrong))
    names = [(body["schema"], body["name"]) for body in definitions.transformations()]
    return tables, verification.count_models(warehouse_url, names)


def _step_seconds(run: dict[str, Any]) -> dict[str, float]:
    """Returns the seconds of the run's two parts, as Dagster measured its steps."""
    seconds: dict[str, float] = {}
    for part, prefix in _PARTS.items():
        steps = [step for step in run["steps"] if step["key"].startswith(prefix)]
        times = [(step["started_at"], step["ended_at"]) for step in steps]
        if times and all(start and end for start, end in times):
            first = min(datetime.fromisoformat(start) for start, _ in times)
            last = max(datetime.fromisoformat(end) for _, end in times)
            seconds[part] = round((last - first).total_seconds(), 2)
    return seconds
