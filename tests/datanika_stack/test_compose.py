"""docker-compose.yml: its schema and its promises; its commands run by hand in test_deployment."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from typer.testing import CliRunner

from datanika_dagster.launcher.host_environment import HostEnvironment
from datanika_stack.cli.main import app
from datanika_stack.compose_env import compose_env
from datanika_stack.layout import PROJECT_ROOT
from datanika_stack.settings import CONTROL_PLANE_VARIABLES
from datanika_stack.web_server import server_command

COMPOSE_FILE = PROJECT_ROOT / "docker-compose.yml"
ONE_SHOT = "migrate"
CHECKER = Path(sys.executable).parent / "check-jsonschema"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE_FILE.read_text())["services"]


def variables(pattern: str) -> set[str]:
    return set(re.findall(pattern, COMPOSE_FILE.read_text()))


@pytest.mark.parametrize("broken", [False, True])
def test_it_is_a_compose_file(tmp_path: Path, broken: bool) -> None:
    path = tmp_path / "docker-compose.yml"
    text = COMPOSE_FILE.read_text()
    path.write_text(text.replace("restart: unless-stopped", "restrat: always") if broken else text)
    command = [CHECKER, "--builtin-schema", "vendor.compose-spec", path]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode != 0) is broken, done.stdout


def test_each_service_has_a_health_check(services: dict[str, Any]) -> None:
    assert [name for name, it in services.items() if "healthcheck" not in it] == [ONE_SHOT]


def test_the_image_has_each_place_where_a_volume_is_mounted(services: dict[str, Any]) -> None:
    """Docker makes a missing one root's, and the platform's own user cannot use it."""
    made = (PROJECT_ROOT / "Dockerfile").read_text().split()
    own = [one for one in services.values() if one["image"] == services[ONE_SHOT]["image"]]
    mounted = {mount.split(":")[1] for service in own for mount in service.get("volumes", [])}
    assert mounted - set(made) == set()


def test_each_service_waits_for_the_migration(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name not in (ONE_SHOT, "postgres"):
            waits = service["depends_on"][ONE_SHOT]
            assert waits == {"condition": "service_completed_successfully"}, name


def test_no_secret_has_a_default() -> None:
    defaulted = variables(r"\$\{(\w+):?-")
    assert not [name for name in defaulted if re.search("PASSWORD|KEY$|KEYS$|TOKEN", name)]
    assert not re.search(r"://\w+:(?!\$\{)[^@\s]+@", COMPOSE_FILE.read_text())


def test_ports_are_published_on_loopback_unless_told(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("${DATANIKA_BIND:-127.0.0.1}:") for port in ports)


def test_only_the_control_plane_holds_its_keys(services: dict[str, Any]) -> None:
    holders = {
        name
        for name, service in services.items()
        if {"DATANIKA_SECRET_KEY", "DATANIKA_ENCRYPTION_KEYS"} & set(service["environment"])
    }
    assert holders == {ONE_SHOT, "control-plane", "worker"}


def test_the_servers_are_started_as_up_starts_them(services: dict[str, Any]) -> None:
    for name in ("control-plane", "gateway"):
        command = services[name]["command"]
        app, port = command[3], int(command[command.index("--port") + 1])
        assert tuple(command[1:]) == server_command(app, "0.0.0.0", port)[2:]


def test_the_control_plane_takes_over_what_the_user_sets(services: dict[str, Any]) -> None:
    for name in ("control-plane", "worker"):
        environment = services[name]["environment"]
        taken_over = {variable for variable, value in environment.items() if value is None}
        own = {"DATANIKA_ENCRYPTION_KEYS", "DATANIKA_ISOLATION"}
        assert taken_over == {*CONTROL_PLANE_VARIABLES, *own}


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("code-servers", {"DATANIKA_CODE_SERVER_IDLE_MINUTES", "DATANIKA_WORKER_UID_BASE"}),
        (
            "worker-host",
            {
                "DATANIKA_WORKER_UID_BASE",
                "DATANIKA_RUN_LOG_DAYS",
                "DATANIKA_RUN_LOG_GIGABYTES",
            },
        ),
    ],
)
def test_a_service_takes_over_what_the_user_sets_for_it(
    services: dict[str, Any], service: str, names: set[str]
) -> None:
    environment = services[service]["environment"]
    assert {name for name, value in environment.items() if value is None} == names


def test_a_worker_host_is_told_what_every_worker_host_is_told(services: dict[str, Any]) -> None:
    path = Path("/somewhere")
    told = HostEnvironment(path, path, path, 1_000_000, 1.0, 1.0).variables()
    image = (PROJECT_ROOT / "Dockerfile").read_text()
    of_image = {name for name in told if re.search(rf"^\s+(ENV )?{name}=", image, re.MULTILINE)}
    assert of_image == {"DATANIKA_HOME"}
    given = services["worker-host"]["environment"]
    assert set(given) == set(told) - of_image
    assert given["JE_ARROW_MALLOC_CONF"] == told["JE_ARROW_MALLOC_CONF"]


def test_the_second_worker_host_is_another_one_of_the_first(services: dict[str, Any]) -> None:
    first, second = services["worker-host"], dict(services["worker-host-2"])
    # It does not start by itself, and what it is asked for is the only difference.
    assert (second.pop("profiles"), second.pop("restart")) == (["second-worker-host"], "no")
    assert "profiles" not in first
    as_first = json.loads(json.dumps(second).replace("host_2", "host_1"))
    assert json.dumps(second).count("host_2") == 2
    assert as_first | {"restart": "unless-stopped"} == first


def test_the_generated_env_has_what_it_requires() -> None:
    required = variables(r"\$\{(\w+):\?")
    generated = {line.split("=")[0] for line in compose_env().splitlines() if "=" in line}
    assert generated == required | {"DATANIKA_ENCRYPTION_KEYS"}
    assert compose_env() != compose_env()


def values(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_tokens_are_renewed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    before = compose_env() + "# mine\nDATANIKA_BIND=0.0.0.0\n"
    path.write_text(before)
    done = CliRunner().invoke(app, ["compose-env", "--renew", str(path)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    after = path.read_text()
    assert "# mine" in after
    assert path.stat().st_mode & 0o777 == 0o600
    old, new = values(before), values(after)
    assert old.keys() == new.keys()
    changed = {name for name, value in new.items() if value != old[name]}
    assert changed == {name for name in new if name.endswith("_TOKEN")}
    key = new["DATANIKA_SECRET_KEY"]
    for name in changed:
        claims, was = (
            jwt.decode(one[name], key, algorithms=["HS256"], audience="datanika-service")
            for one in (new, old)
        )
        assert claims["sub"] == was["sub"]


@pytest.mark.parametrize("left", ["", "DATANIKA_DAGSTER_LOGIN_KEY=\n"])
def test_what_a_newer_version_needs_is_added_once(tmp_path: Path, left: str) -> None:
    path = tmp_path / ".env"
    lines = compose_env().splitlines(keepends=True)
    older = [line for line in lines if not line.startswith("DATANIKA_DAGSTER_LOGIN_KEY=")]
    path.write_text("".join(older) + left)
    before = values("".join(older))
    for _ in range(2):
        done = CliRunner().invoke(app, ["compose-env", "--renew", str(path)])
        assert done.exit_code == 0, done.stderr
        after = values(path.read_text())
        assert after.keys() == values(compose_env()).keys()
        assert len(after["DATANIKA_DAGSTER_LOGIN_KEY"]) >= 32
        kept = before.keys() - {name for name in before if name.endswith("_TOKEN")}
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert path.read_text().count("DATANIKA_DAGSTER_LOGIN_KEY") == 1
        before = after


@pytest.mark.parametrize(
    "name",
    ["DATANIKA_WAREHOUSE_NAME_KEY", "DATANIKA_ENCRYPTION_KEYS", "DATANIKA_POSTGRES_PASSWORD"],
)
def test_what_opens_data_is_never_made_anew(tmp_path: Path, name: str) -> None:
    path = tmp_path / ".env"
    lines = compose_env().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{name}=")))
    assert CliRunner().invoke(app, ["compose-env", "--renew", str(path)]).exit_code == 0
    assert name not in path.read_text()


def test_a_file_without_the_key_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("DATANIKA_BIND=0.0.0.0\n")
    done = CliRunner().invoke(app, ["compose-env", "--renew", str(path)])
    assert done.exit_code == 1
    assert "DATANIKA_SECRET_KEY" in done.stderr
    assert path.read_text() == "DATANIKA_BIND=0.0.0.0\n"


def test_a_query_whose_client_has_gone_is_ended(services: dict[str, Any]) -> None:
    assert "client_connection_check_interval=5s" in services["postgres"]["command"]


def test_the_example_documents_every_variable() -> None:
    documented = set(
        re.findall(r"^#?(\w+)=", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    assert variables(r"\$\{(\w+)") <= documented
    issue = {
        "DATANIKA_HOME", "DATANIKA_PUBLIC_URL", "DATANIKA_ALLOWED_NETWORKS", "DBT_PROJECTS_DIR",
        "DATANIKA_DATABASE_URL", "DATANIKA_SECRET_KEY", "DATANIKA_ENCRYPTION_KEYS",
        "API_KEY_HEADER",
    }  # fmt: skip
    assert issue <= documented
