"""What a plan says about the addresses of a stack."""

import http.server
import socket
import threading
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from control_plane.settings import Settings
from datanika_stack.base_environment import base_environment
from datanika_stack.health import http_answers
from datanika_stack.layout import Home
from datanika_stack.settings import CONTROL_PLANE_VARIABLES, StackSettings
from datanika_stack.stack_plan import StackPlan


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8700"),
        ("0.0.0.0", "http://127.0.0.1:8700"),
        ("::1", "http://[::1]:8700"),
        ("::", "http://[::1]:8700"),
        ("stack.example.com", "http://stack.example.com:8700"),
    ],
)
def test_urls_of_an_address(tmp_path: Path, host: str, url: str) -> None:
    plan = StackPlan.make(Home.at(tmp_path), 8700, host, StackSettings())
    assert plan.api_url == url
    assert plan.dagster_url == url.replace("8700", "8701/dagster")


SET_BY_THE_STACK = {
    "DATANIKA_DATABASE_URL", "DATANIKA_SECRET_KEY", "DATANIKA_ENCRYPTION_KEYS",
    "DATANIKA_PUBLIC_URL", "DATANIKA_CONTROL_PLANE_URL", "DATANIKA_DAGSTER_URL",
    "DATANIKA_DAGSTER_PUBLIC_URL", "DATANIKA_PROVISIONER_SOCKET", "DATANIKA_SERVICE_TOKEN", "DATANIKA_WORKER_SOCKETS",
    "DATANIKA_ALLOWED_NETWORKS", "DATANIKA_KEY_AGENT_SOCKET", "DBT_PROJECTS_DIR", "API_KEY_HEADER",
    "DATANIKA_ISOLATION",
}  # fmt: skip
FOR_OTHERS = {
    "DATANIKA_OPERATOR_EMAIL",  # the bootstrap command
    "DATANIKA_OPERATOR_PASSWORD",
    "DATANIKA_WORKER_HEARTBEAT",  # compose: `up` sees its worker live
}


def variables_of(settings: type[BaseSettings]) -> set[str]:
    """Returns each setting's first name in the environment."""
    names = set()
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        names.add(
            str(alias.choices[0])
            if isinstance(alias, AliasChoices)
            else f"{settings.model_config.get('env_prefix')}{name}".upper()
        )
    return names


def test_the_worker_host_learns_how_long_output_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATANIKA_RUN_LOG_DAYS", "7")
    plan = StackPlan.make(Home.at(tmp_path), 8700, "127.0.0.1", StackSettings())
    given = plan.worker_host("host_1").environment
    assert (given["DATANIKA_RUN_LOG_DAYS"], given["DATANIKA_RUN_LOG_GIGABYTES"]) == ("7.0", "10.0")


def test_the_daemon_learns_how_long_runs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATANIKA_RUN_DAYS", "30")
    plan = StackPlan.make(Home.at(tmp_path), 8700, "127.0.0.1", StackSettings())
    assert plan.daemon().environment["DATANIKA_RUN_DAYS"] == "30.0"


class TestEnvironmentOfTheControlPlane:
    def test_every_setting_has_one_giver(self) -> None:
        taken_over = set(CONTROL_PLANE_VARIABLES)
        assert len(taken_over) == len(CONTROL_PLANE_VARIABLES)
        assert not taken_over & (SET_BY_THE_STACK | FOR_OTHERS)
        assert taken_over | SET_BY_THE_STACK | FOR_OTHERS == variables_of(Settings)

    def test_api_and_worker_get_what_the_user_has_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in CONTROL_PLANE_VARIABLES:
            monkeypatch.setenv(name, f"value of {name}")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        monkeypatch.setenv("DATANIKA_OPERATOR_PASSWORD", "canary")
        plan = StackPlan.make(Home.at(tmp_path), 8700, "127.0.0.1", StackSettings())
        for spec in (plan.control_plane(), plan.worker()):
            given = dict(spec.environment)
            for name in CONTROL_PLANE_VARIABLES:
                assert given.pop(name) == f"value of {name}"
            assert given.keys() >= SET_BY_THE_STACK
            assert given.keys() - SET_BY_THE_STACK == {"DATANIKA_HOME", *base_environment()}
            assert "canary" not in given.values()

    def test_nobody_else_gets_any_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in CONTROL_PLANE_VARIABLES:
            monkeypatch.setenv(name, "canary")
        plan = StackPlan.make(Home.at(tmp_path), 8700, "127.0.0.1", StackSettings())
        for spec in (plan.gateway(), plan.daemon()):
            assert "canary" not in spec.environment.values()
            assert "DATANIKA_KEY_AGENT_SOCKET" not in spec.environment

    def test_an_empty_variable_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATANIKA_SMTP_URL", "")
        plan = StackPlan.make(Home.at(tmp_path), 8700, "127.0.0.1", StackSettings())
        assert "DATANIKA_SMTP_URL" not in plan.worker().environment


def test_forwarded_headers_are_the_application_s_to_believe(tmp_path: Path) -> None:
    plan = StackPlan.make(Home.at(tmp_path), 8700, "127.0.0.1", StackSettings())
    for spec in (plan.control_plane(), plan.gateway()):
        assert "--no-proxy-headers" in spec.command


@pytest.mark.parametrize(
    ("host", "public_url", "is_warned"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.0.2.7", None, True),
        ("0.0.0.0", "http://data.example.com", True),
        ("0.0.0.0", "https://data.example.com", False),
    ],
)
def test_plain_http_that_others_reach_is_warned_of(
    tmp_path: Path, host: str, public_url: str | None, is_warned: bool
) -> None:
    settings = StackSettings(public_url=public_url)
    plan = StackPlan.make(Home.at(tmp_path), 8700, host, settings)
    assert bool(plan.warnings()) is is_warned
    assert all("cookies" in warning for warning in plan.warnings())


@pytest.mark.parametrize("host", ["::1", "::"])
def test_health_is_asked_over_ipv6(host: str) -> None:
    class Server(http.server.HTTPServer):
        address_family = socket.AF_INET6

    try:
        server = Server(("::1", 0), http.server.SimpleHTTPRequestHandler)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert http_answers(server.server_port, "/none", host)()
        thread.join(5)
