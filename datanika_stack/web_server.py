"""How the two web servers of a stack are started: uvicorn, with limits for an exposed server.

docker-compose.yml starts them with the same options; a test compares the two.
"""

from typing import Final

from datanika_stack.base_environment import PYTHON

# https://uvicorn.dev/settings/
OPTIONS: Final = (
    "--no-access-log",
    "--no-server-header",
    # X-Forwarded-* are believed by the control plane alone, and only from its trusted proxies.
    "--no-proxy-headers",
    # So much of a request line and headers that have no end yet; more is answered with 400 before the
    # application sees it.
    "--http", "datanika_stack.http_protocol:BoundedHttpProtocol",
    # Longer than most proxies keep an idle connection, so that they do not send into a closed one.
    "--timeout-keep-alive", "75",
    # Beyond this many connections: 503 at once, instead of a queue that only grows.
    "--limit-concurrency", "1000",
    "--backlog", "1024",
    # Of one message of a client on a WebSocket; uvicorn's own bound is 16 MB.
    "--ws-max-size", "262144",
    "--timeout-graceful-shutdown", "5",
)  # fmt: skip


def server_command(app: str, host: str, port: int) -> tuple[str, ...]:
    """Returns the command that serves an application.

    Args:
        app: Module and factory, such as `control_plane.main:create_app`.
        host: Address to bind.
        port: TCP port.
    """
    place = ("--host", host, "--port", str(port))
    return (*PYTHON, "uvicorn", app, "--factory", *place, *OPTIONS)
