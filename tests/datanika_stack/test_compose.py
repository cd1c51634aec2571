"""docker-compose.yml: its schema and its promises; its commands run by hand in test_deployment."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from datanika_stack.compose_env import compose_env
from datanika_stack.layout import PROJECT_ROOT

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


def test_the_generated_env_has_what_it_requires() -> None:
    required = variables(r"\$\{(\w+):\?")
    generated = {line.split("=")[0] for line in compose_env().splitlines() if "=" in line}
    assert generated == required
    assert compose_env() != compose_env()


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
