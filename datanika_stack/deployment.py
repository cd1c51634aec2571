"""The stack's parts as processes of their own, for a deployment that something else supervises.

docker-compose runs `migrate` to its end before the others, and `provisioner` and `code-servers` beside
them. Everything they know comes from the environment.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from datanika_stack.base_environment import base_environment
from datanika_stack.code_servers import CodeServerPlan, CodeServers
from datanika_stack.dagster_logins import DagsterLogins, ReadyOrgs, RemoteLogins
from datanika_stack.databases import ensure_databases
from datanika_stack.endpoints import (
    dagster_storage_endpoint,
    external_endpoints,
    provisioner_endpoint,
    text_of,
)
from datanika_stack.errors import StackError
from datanika_stack.internal_api import InternalApi
from datanika_stack.key_agent import KeyAgent
from datanika_stack.layout import Home
from datanika_stack.locations import LocationPoller, LocationSource
from datanika_stack.overdue_transactions import OverdueTransactions
from datanika_stack.peers import keep_out_of_core_dumps
from datanika_stack.preparation import install_dagster_home, migrate_control_plane, migrate_dagster
from datanika_stack.process_tree import reap_orphans
from datanika_stack.processes import ManagedProcess
from datanika_stack.provision import Provisioner
from datanika_stack.provision_server import ProvisionServer, login_operations, warehouse_operations
from datanika_stack.service_tokens import ServiceRole, mint
from datanika_stack.settings import StackSettings, control_plane_variables
from datanika_stack.stop_signals import calling

_TICK_SECONDS: Final = 0.2
_SLOW_TICK_SECONDS: Final = 1.0


def migrate_deployment(settings: StackSettings, report: Callable[[str], None]) -> None:
    """Makes databases and roles where an admin URL is given, and brings all schemas up to date.

    Args:
        settings: URLs, keys and the operator's name and password.
        report: Is told what happens.

    Raises:
        StackError: A variable is missing or a step failed.
    """
    home = Home.at(settings.home)
    home.logs_dir.mkdir(parents=True, exist_ok=True)
    endpoints = external_endpoints(settings)
    if endpoints.admin is not None:
        report("making databases and roles")
        ensure_databases(endpoints)
    dagster_home = settings.dagster_home or home.dagster_home
    install_dagster_home(dagster_home)
    log_file = home.logs_dir / "migrate.log"
    report("migrating the control plane")
    bootstrap = base_environment() | control_plane_variables()
    bootstrap |= {
        "DATANIKA_DATABASE_URL": text_of(endpoints.app),
        "DATANIKA_SECRET_KEY": _secret_key(settings),
    }
    if settings.encryption_keys is not None:
        bootstrap["DATANIKA_ENCRYPTION_KEYS"] = settings.encryption_keys.get_secret_value()
    if settings.operator_password is not None:
        bootstrap["DATANIKA_OPERATOR_EMAIL"] = settings.operator_email
        bootstrap["DATANIKA_OPERATOR_PASSWORD"] = settings.operator_password.get_secret_value()
    migrate_control_plane(endpoints.owner, base_environment(), bootstrap, log_file)
    report("migrating Dagster")
    environment = base_environment() | {
        "DAGSTER_HOME": str(dagster_home),
        "DATANIKA_DAGSTER_STORAGE_URL": text_of(endpoints.dagster),
    }
    migrate_dagster(endpoints.dagster, endpoints.provisioner, environment, log_file)
    report("done")


def serve_provisioner(settings: StackSettings) -> None:
    """Serves requests for warehouses and for orgs' logins, each on its socket, until SIGTERM.

    Raises:
        StackError: A variable is missing.
    """
    if settings.provisioner_socket is None:
        raise StackError("DATANIKA_PROVISIONER_SOCKET must be set")
    if settings.warehouse_name_key is None:
        raise StackError("DATANIKA_WAREHOUSE_NAME_KEY must be set")
    if settings.logins_socket is None:
        raise StackError("DATANIKA_LOGINS_SOCKET must be set")
    url = provisioner_endpoint(settings)
    provisioner = Provisioner(url, settings.warehouse_name_key.get_secret_value())
    logins = DagsterLogins(url, dagster_storage_endpoint(settings), _login_key(settings))
    operations = warehouse_operations(provisioner, logins)
    servers = [
        ProvisionServer(operations, settings.provisioner_socket),
        ProvisionServer(login_operations(logins), settings.logins_socket),
        OverdueTransactions(url),
    ]
    for server in servers:
        server.start()
    try:
        with _until_told_to_stop() as stop:
            stop.wait()
    finally:
        for server in servers:
            server.close()


def serve_keys(settings: StackSettings) -> None:
    """Serves the unlocked keys until SIGTERM; they are in this process's memory only.

    Raises:
        StackError: A variable is missing.
    """
    if settings.key_agent_socket is None:
        raise StackError("DATANIKA_KEY_AGENT_SOCKET must be set")
    keep_out_of_core_dumps()
    agent = KeyAgent(settings.key_agent_socket)
    agent.start()
    try:
        with _until_told_to_stop() as stop:
            stop.wait()
    finally:
        agent.close()


def serve_code_locations(settings: StackSettings) -> None:
    """Keeps one code server per org and the workspace file until SIGTERM.

    Raises:
        StackError: A variable is missing.
    """
    if settings.control_plane_url is None:
        raise StackError("DATANIKA_CONTROL_PLANE_URL must be set")
    if settings.logins_socket is None:
        raise StackError("DATANIKA_LOGINS_SOCKET must be set")
    home = Home.at(settings.home)
    dagster_home = settings.dagster_home or home.dagster_home
    home.logs_dir.mkdir(parents=True, exist_ok=True)
    servers = CodeServers(_code_server_plan(settings, home, dagster_home))
    servers.prepare()
    source = LocationSource(InternalApi(settings.control_plane_url, _supervisor_token(settings)))
    poller = LocationPoller(source, ReadyOrgs(RemoteLogins(settings.logins_socket)).of)
    poller.start()
    try:
        with _until_told_to_stop() as stop:
            _keep(servers, poller, stop)
    finally:
        poller.stop()
        for process in servers.processes():
            process.end()


def _keep(servers: CodeServers, poller: LocationPoller, stop: threading.Event) -> None:
    next_slow_tick = 0.0
    while not stop.wait(_TICK_SECONDS):
        if poller.latest is not None:
            servers.sync(poller.latest)
        servers.tick()
        if time.monotonic() >= next_slow_tick:
            next_slow_tick = time.monotonic() + _SLOW_TICK_SECONDS
            reap_orphans(_pids(servers.processes()))
            poller.keep_asking()
            if not poller.is_stale():
                servers.beat()


def _pids(processes: list[ManagedProcess]) -> set[int]:
    return {process.pid for process in processes if process.pid is not None}


def _code_server_plan(settings: StackSettings, home: Home, dagster_home: Path) -> CodeServerPlan:
    return CodeServerPlan(
        dagster_home=dagster_home,
        socket_dir=settings.code_server_socket_dir or home.code_servers_dir,
        log_dir=home.logs_dir,
        control_plane_url=str(settings.control_plane_url),
        dagster_storage_url=text_of(dagster_storage_endpoint(settings)),
        dagster_login_key=_login_key(settings),
        environment=base_environment(),
        idle_after=settings.code_server_idle,
        uid_base=settings.worker_uid_base,
    )


def _supervisor_token(settings: StackSettings) -> str:
    if settings.service_token is not None:
        return settings.service_token.get_secret_value()
    return mint(_secret_key(settings), ServiceRole.SUPERVISOR)


def _login_key(settings: StackSettings) -> str:
    if settings.dagster_login_key is None:
        raise StackError("DATANIKA_DAGSTER_LOGIN_KEY must be set")
    return settings.dagster_login_key.get_secret_value()


def _secret_key(settings: StackSettings) -> str:
    if settings.secret_key is None:
        raise StackError("DATANIKA_SECRET_KEY must be set")
    return settings.secret_key.get_secret_value()


@contextlib.contextmanager
def _until_told_to_stop() -> Iterator[threading.Event]:
    """Gives an event that SIGTERM or SIGINT sets."""
    stop = threading.Event()
    with calling(stop.set, signal.SIGTERM, signal.SIGINT):
        yield stop
