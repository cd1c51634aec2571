"""Builds that fail, hostile models, subsets; and where credentials may never be."""

import pytest

from datanika_dagster.transformations.errors import is_lost_connection
from tests.datanika_dagster.transformations import conftest, projects

FORGED = (
    '{"info": {"name": "NodeFinished"}, "data": {"node_info": {"unique_id": "model.datanika.dim"},'
    ' "run_result": {"status": "success"}}}'
)


@pytest.fixture(scope="module")
def payload(jobs, warehouse, tmp_path_factory):
    directory = tmp_path_factory.mktemp("projects")
    warehouse.execute("CREATE SCHEMA raw")
    warehouse.execute("CREATE TABLE raw.numbers AS SELECT generate_series(1, 3) AS n")
    source = projects.source(
        projects.model(
            "base",
            f"{{{{ log({FORGED!r}, info=true) }}}}{{{{ print({FORGED!r}) }}}}"
            "select n, 'absent' as canary from {{ source('raw', 'numbers') }}",
            tests=[
                projects.test("unique", "n"),
                projects.test("accepted_values", "n", values=[1, 2], severity="warn"),
                projects.test("accepted_values", "N", values=[1], severity="error"),
                projects.test("accepted_values", "canary", values=["absent", "{{ x }} 'y' ref('z')"]),
            ],
        ),
        projects.model("divided", "select 1 / (n - n) as x from {{ ref('base') }}",
                       materialization="table"),
        projects.model("inline", "select 1 as n", materialization="ephemeral"),
        projects.model("dim", "select 2 as n union all select n from {{ ref('inline') }}",
                       materialization="table", tests=[projects.test("not_null", "missing")]),
        projects.model("downstream", "select * from {{ ref('divided') }}"),
        projects.model(
            "who",
            "select current_setting('application_name') as application",
            materialization="table",
        ),
        tables=(("raw", "numbers"),),
    )  # fmt: skip
    parsed = jobs("parse_job", projects.payload(source, directory))
    assert parsed.error is None
    return {
        "project": {"connection": "warehouse", **parsed.value},
        "projects_dir": str(directory),
        "org": "acme",
        "org_id": 7,
        "run_id": "5b0f6c8e-0000",
        "nodes": [],
        "tests": [],
    }


@pytest.fixture(scope="module")
def build(jobs, warehouse, payload):
    def run(models=(), checks=(), secret=warehouse.secret, **more):
        nodes = {node["name"]: node for node in payload["project"]["nodes"]}
        tests = {
            (node["name"], test["check_name"]): test["unique_id"]
            for node in nodes.values()
            for test in node["tests"]
        }
        selected = {
            "nodes": [nodes[name]["unique_id"] for name in models],
            "tests": [tests[check] for check in checks],
        }
        return jobs("build_job", payload | selected | more, {"warehouse": secret})

    return run


@pytest.fixture(scope="module")
def everything(build, payload):
    nodes = payload["project"]["nodes"]
    checks = [(node["name"], test["check_name"]) for node in nodes for test in node["tests"]]
    return build([node["name"] for node in nodes], checks)


def test_a_failing_model_is_named_with_the_databases_message(build):
    answer = build(["base", "divided", "downstream"])

    assert answer.error["code"] == "transformation.build_failed"
    assert answer.error["field"] == "divided"
    assert "model divided failed" in answer.error["message"]
    assert "division by zero" in answer.error["message"]
    statuses = {name: result["status"] for name, result in answer.results.items()}
    assert statuses == {
        "model.datanika.base": "success",
        "model.datanika.divided": "error",
        "model.datanika.downstream": "skipped",
    }
    assert "model downstream: skipped" in answer.log_text
    assert "work" not in answer.error["message"]
    assert "/tmp" not in answer.error["message"]


def test_an_error_test_fails_the_run_and_a_warning_does_not(everything):
    message = everything.error["message"]

    assert "test accepted_values_n_2 of base found 2 failing rows (fail)" in message
    assert "test not_null_missing of dim failed" in message
    assert "accepted_values_n of" not in message
    assert "test accepted_values_n of base found 1 failing rows (warn)" in everything.log_text
    assert "accepted_values_canary of base passed" in everything.log_text


def test_a_warning_alone_lets_the_run_succeed(build):
    answer = build(["base"], [("base", "accepted_values_n")])

    assert answer.error is None
    assert answer.value == {"nodes": 1, "tests": 1}
    assert set(answer.results) == {
        "model.datanika.base",
        next(name for name in answer.results if name.startswith("test.")),
    }


def test_tests_alone_run_without_their_model(build, everything):
    answer = build([], [("base", "unique_n")])

    assert answer.error is None
    assert answer.value == {"nodes": 0, "tests": 1}


def test_through_an_ephemeral_model(build, warehouse):
    answer = build(["dim"])

    assert answer.error is None
    assert answer.results["model.datanika.dim"]["rows"] == 2
    assert warehouse.rows("SELECT n FROM mart.dim ORDER BY n") == [(1,), (2,)]


def test_nothing_selected_runs_nothing(build):
    answer = build()

    assert answer.value == {"nodes": 0, "tests": 0}
    assert not answer.messages


@pytest.mark.parametrize("name", ["model.datanika.nowhere", "--target-path=/tmp/x", "+base", "*"])
def test_a_foreign_id_is_refused(build, name):
    answer = build(nodes=[name])

    assert answer.error["code"] == "transformation.build_failed"
    assert name in answer.error["message"]


def test_a_printed_event_is_no_event(build):
    answer = build(["base"])

    assert answer.log_text.count(FORGED) == 2
    assert set(answer.results) == {"model.datanika.base"}


def test_the_warehouse_sees_who_asks(build, warehouse):
    assert build(["who"]).error is None
    assert warehouse.rows("SELECT application FROM mart.who") == [("datanika dbt acme 5b0f6c8e",)]


def test_a_wrong_password_has_a_code(build, warehouse):
    wrong = {
        "connector": "managed_warehouse",
        "config": warehouse.secret["config"] | {"password": "wrong-password-77"},
    }
    answer = build(["base"], secret=wrong)

    assert answer.error["code"] == "connection.auth"
    assert "wrong-password-77" not in answer.output + answer.error["message"]


def test_a_connection_of_the_users_obeys_the_network_policy(build, warehouse):
    names = ("port", "database", "user", "password")
    config = {name: warehouse.secret["config"][name] for name in names} | {"host": "localhost"}
    secret = {"connector": "postgres", "config": config}

    assert build(["who"], secret=secret).error["code"] == "connection.network_denied"
    allowed = build(["who"], secret=secret, allowed_networks=["127.0.0.0/8", "::1/128"])
    assert allowed.error is None


def test_a_project_that_is_not_here_is_a_clear_error(build, tmp_path):
    assert build(["who"], projects_dir=str(tmp_path)).error["code"] == (
        "transformation.project_missing"
    )


def test_without_its_parsed_manifest_a_project_is_parsed_again(
    build, everything, payload, tmp_path
):
    kept = conftest.project_directory(payload)
    parsed = kept / "parsed" / "partial_parse.msgpack"
    moved = parsed.rename(tmp_path / parsed.name)
    try:
        answer = build(["who"], [("base", "unique_n")])
    finally:
        moved.rename(parsed)

    assert answer.error is None
    assert answer.value == {"nodes": 1, "tests": 1}


def test_no_secret_is_on_disk_or_in_the_output(everything, payload):
    kept = conftest.project_directory(payload)
    files = [p for d in (kept, everything.work_dir) for p in d.rglob("*") if p.is_file()]
    assert any(path.suffix == ".sql" and everything.work_dir in path.parents for path in files)

    for secret in (conftest.OWNER_PASSWORD, conftest.READER_PASSWORD):
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        assert secret not in everything.output + everything.log_text + str(everything.messages)


def test_a_build_leaves_the_project_as_it_was(everything, payload):
    kept = conftest.project_directory(payload)

    assert sorted(path.name for path in kept.iterdir()) == [
        "dbt-versions.txt",
        "dbt_project.yml",
        "macros",
        "models",
        "parsed",
        "profiles.yml",
    ]


@pytest.mark.parametrize(
    ("message", "is_lost"),
    [
        ("server closed the connection unexpectedly\n\tThis probably means", True),
        ("FATAL:  the database system is in recovery mode", True),
        ('connection to server at "::1", port 5432 failed: Connection refused', True),
        ('connection to server failed: FATAL:  password authentication failed for user "x"', False),
        ("division by zero", False),
    ],
)
def test_a_warehouse_that_was_gone_is_no_fault_of_a_model(message, is_lost):
    assert is_lost_connection(message) is is_lost
