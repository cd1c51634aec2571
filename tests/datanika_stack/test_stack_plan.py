"""What a plan says about the addresses of a stack."""

import http.server
import socket
import threading
from pathlib import Path

import pytest

from datanika_stack.health import http_answers
from datanika_stack.layout import Home
from datanika_stack.settings import StackSettings
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
