"""What the processes of a stack are: commands, health checks and exact environments. Starts nothing.

Each process gets the variables it needs and nothing else of the environment that `up` was called in;
only the control plane's own processes get the signing and encryption keys.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datanika_dagster.launcher.host_environment import HostEnvironment
from datanika_stack.base_environment import PYTHON, base_environment
from datanika_stack.code_servers import CodeServerPlan, CodeServers
from datanika_stack.dagster_logins import DagsterLogins
from datanika_stack.endpoints import (
    DatabaseEndpoints,
    embedded_endpoints,
    external_endpoints,
    text_of,
)
from datanika_stack.health import LOOPBACK_HOSTS, WILDCARD_HOSTS, http_answers, loopback_of
from datanika_stack.internal_api import InternalApi
from datanika_stack.isolation import Isolation, isolation_of
from datanika_stack.layout import Home, Ports
from datanika_stack.private_files import make_private_directory
from datanika_stack.process_spec import ProcessSpec
from datanika_stack.secrets import Secrets, load_or_generate
from datanika_stack.service_tokens import ServiceRole, mint
from datanika_stack.settings import StackSettings, control_plane_variables
from datanika_stack.web_server import server_command
from datanika_stack.worker_hosts import WorkerHosts, host_answers

WORKER_HOST_MODULE = "datanika_dagster.launcher.host"


@dataclass(frozen=True)
class StackPlan:
    """One stack: where it lives, where it listens, and with which secrets."""

    home: Home
    ports: Ports
    host: str
    settings: StackSettings
    endpoints: DatabaseEndpoints
    secrets: Secrets = field(repr=False)

    @property
    def api_url(self) -> str:
        """Where this machine reaches the control plane."""
        return f"http://{self._own_address}:{self.ports.api}"

    @property
    def dagster_url(self) -> str:
        """Where this machine reaches the Dagster UI."""
        return f"http://{self._own_address}:{self.ports.dagster}/dagster"

    @property
    def secret_key(self) -> str:
        """The key that signs tokens: the environment's, else the generated one."""
        given = self.settings.secret_key
        return given.get_secret_value() if given else self.secrets.secret_key

    @property
    def dbt_projects_dir(self) -> Path:
        """Where generated dbt projects live."""
        return (self.settings.dbt_projects_dir or self.home.dbt_projects_dir).absolute()

    @property
    def warehouse_name_key(self) -> str:
        """The key of the warehouses' opaque names."""
        given = self.settings.warehouse_name_key
        return given.get_secret_value() if given else self.secrets.warehouse_name_key

    @property
    def dagster_login_key(self) -> str:
        """The key of the passwords of orgs' logins in Dagster's storage."""
        given = self.settings.dagster_login_key
        return given.get_secret_value() if given else self.secrets.dagster_login_key

    @property
    def is_embedded(self) -> bool:
        """Whether PostgreSQL is the stack's own."""
        return self.settings.database_url is None

    @property
    def isolation(self) -> Isolation:
        """How far this machine keeps orgs' jobs apart."""
        return isolation_of(self.home.path, self.settings.worker_uid_base)

    def warnings(self) -> list[str]:
        """Returns what a person should know about where this stack can be reached."""
        is_local = loopback_of(self.host) in LOOPBACK_HOSTS and self.host not in WILDCARD_HOSTS
        if is_local or self._public_url.startswith("https://"):
            return []
        return [
            f"{self.host} is reached over plain http: passwords and session cookies can be read on "
            "the way. Put a proxy with TLS before it and set DATANIKA_PUBLIC_URL=https://…"
        ]

    def bootstrap_environment(self) -> dict[str, str]:
        """Returns what makes the first platform operator."""
        given = self.settings.operator_password
        password = given.get_secret_value() if given else self.secrets.operator_password
        return self.control_plane_environment() | {
            "DATANIKA_OPERATOR_EMAIL": self.settings.operator_email,
            "DATANIKA_OPERATOR_PASSWORD": password,
        }

    def control_plane(self) -> ProcessSpec:
        """Returns the process that serves the REST API."""
        command = server_command("control_plane.main:create_app", self.host, self.ports.api)
        health = http_answers(self.ports.api, "/health", self.host)
        return self._spec("control_plane", command, self.control_plane_environment(), health=health)

    def worker(self) -> ProcessSpec:
        """Returns the control plane's background process."""
        command = (*PYTHON, "control_plane.worker")
        return self._spec("worker", command, self.control_plane_environment())

    def gateway(self) -> ProcessSpec:
        """Returns the process that serves the Dagster UI."""
        app = "datanika_dagster.gateway.app:create_app"
        command = server_command(app, self.host, self.ports.dagster)
        environment = self.dagster_environment() | {
            "DATANIKA_SERVICE_TOKEN": mint(self.secret_key, ServiceRole.GATEWAY),
            "DATANIKA_WORKER_SOCKETS": str(self.home.worker_sockets_dir),
            "DATANIKA_PUBLIC_URL": self._public_url,
            "DATANIKA_DAGSTER_PUBLIC_URL": self._dagster_public_url,
        }
        health = http_answers(self.ports.dagster, "/dagster/_health", self.host)
        return self._spec("gateway", command, environment, health=health)

    def daemon(self) -> ProcessSpec:
        """Returns Dagster's daemon, which also launches the runs."""
        command = (*PYTHON, "datanika_dagster.daemon", "run", "-w", str(self.home.workspace_file))
        environment = self.dagster_environment() | {
            "DATANIKA_SERVICE_TOKEN": mint(self.secret_key, ServiceRole.LAUNCHER),
            "DATANIKA_DAGSTER_LOGIN_KEY": self.dagster_login_key,
            "DATANIKA_WORKER_SOCKETS": str(self.home.worker_sockets_dir),
            "DATANIKA_HOME": str(self.home.path),
            "DATANIKA_RUN_DAYS": str(self.settings.run_days),
            "DATANIKA_STEP_LOG_BYTES": str(self.settings.step_log_bytes),
            "DATANIKA_STEP_LOG_LINES": str(self.settings.step_log_lines),
            "DBT_PROJECTS_DIR": str(self.dbt_projects_dir),
        }
        return self._spec("daemon", command, environment)

    def worker_hosts(self) -> WorkerHosts:
        """Returns what keeps a worker host running."""
        return WorkerHosts(self.worker_host, self.home.worker_sockets_dir, self.home.logs_dir)

    def worker_host(self, name: str) -> ProcessSpec:
        """Returns a worker host: it forks runs and jobs, and is given no secret of any kind."""
        sockets = self.home.worker_sockets_dir
        command = (*PYTHON, WORKER_HOST_MODULE, "--sockets", str(sockets), "--name", name)
        given = HostEnvironment(
            dagster_home=self.home.dagster_home,
            home=self.home.path,
            projects_dir=self.dbt_projects_dir,
            worker_uid_base=self.settings.worker_uid_base,
            run_log_days=self.settings.run_log_days,
            run_log_gigabytes=self.settings.run_log_gigabytes,
        )
        environment = base_environment() | given.variables()
        return self._spec(
            f"worker_{name}",
            command,
            environment,
            health=host_answers(sockets / f"{name}.sock"),
            grace_seconds=25.0,
            hung_seconds=30.0,
            stop_signal=signal.SIGINT,
        )

    def code_servers(self) -> CodeServers:
        """Returns what keeps one code server per org."""
        return CodeServers(
            CodeServerPlan(
                dagster_home=self.home.dagster_home,
                socket_dir=self.home.code_servers_dir,
                log_dir=self.home.logs_dir,
                control_plane_url=self.api_url,
                dagster_storage_url=text_of(self.endpoints.dagster),
                dagster_login_key=self.dagster_login_key,
                environment=base_environment(),
                idle_after=self.settings.code_server_idle,
                uid_base=self.settings.worker_uid_base,
            )
        )

    def dagster_logins(self) -> DagsterLogins:
        """Returns what makes orgs' logins in Dagster's storage."""
        endpoints = self.endpoints
        return DagsterLogins(endpoints.provisioner, endpoints.dagster, self.dagster_login_key)

    def internal_api(self) -> InternalApi:
        """Returns where the supervisor learns of manifests and of the seal."""
        return InternalApi(self.api_url, mint(self.secret_key, ServiceRole.SUPERVISOR))

    def dagster_environment(self) -> dict[str, str]:
        """Returns what a process needs that opens the Dagster instance."""
        return base_environment() | {
            "DAGSTER_HOME": str(self.home.dagster_home),
            "DATANIKA_DAGSTER_STORAGE_URL": text_of(self.endpoints.dagster),
            "DATANIKA_CONTROL_PLANE_URL": self.api_url,
        }

    def control_plane_environment(self) -> dict[str, str]:
        """Returns what the control plane and its worker need."""
        given_keys = self.settings.encryption_keys
        keys = given_keys.get_secret_value() if given_keys else self.secrets.encryption_keys
        own = {
            "DATANIKA_HOME": str(self.home.path),
            "DATANIKA_DATABASE_URL": text_of(self.endpoints.app),
            "DATANIKA_SECRET_KEY": self.secret_key,
            "DATANIKA_ENCRYPTION_KEYS": keys,
            "DATANIKA_PUBLIC_URL": self._public_url,
            "DATANIKA_CONTROL_PLANE_URL": self.api_url,
            "DATANIKA_DAGSTER_URL": self.dagster_url,
            "DATANIKA_DAGSTER_PUBLIC_URL": self._dagster_public_url,
            "DATANIKA_PROVISIONER_SOCKET": str(self.home.provisioner_socket),
            "DATANIKA_WORKER_SOCKETS": str(self.home.worker_sockets_dir),
            "DATANIKA_SERVICE_TOKEN": mint(self.secret_key, ServiceRole.CONTROL_PLANE),
            "DATANIKA_ALLOWED_NETWORKS": self.settings.allowed_networks,
            "DBT_PROJECTS_DIR": str(self.dbt_projects_dir),
            "DATANIKA_ISOLATION": self.isolation.level.value,
            "DATANIKA_KEY_AGENT_SOCKET": str(self.home.key_agent_socket),
            "API_KEY_HEADER": self.settings.api_key_header,
        }
        return base_environment() | control_plane_variables() | own

    @classmethod
    def make(cls, home: Home, port: int, host: str, settings: StackSettings) -> "StackPlan":
        """Returns the plan of a home, whose secrets are generated on first use.

        Args:
            home: Made where it does not exist.
            port: Base port.
            host: Address that REST API and Dagster UI bind.
            settings: What the environment says.

        Raises:
            StackError: The secrets are missing or readable by others, or a URL is missing.
        """
        make_private_directory(home.path)
        secrets = load_or_generate(home)
        ports = Ports(port)
        if settings.database_url is None:
            endpoints = embedded_endpoints(secrets, ports.postgres)
        else:
            endpoints = external_endpoints(settings)
        return cls(home, ports, host, settings, endpoints, secrets)

    @property
    def _own_address(self) -> str:
        address = loopback_of(self.host)
        return f"[{address}]" if ":" in address else address

    @property
    def _public_url(self) -> str:
        return self.settings.public_url or self.api_url

    @property
    def _dagster_public_url(self) -> str:
        return self.settings.dagster_public_url or self.dagster_url

    def _spec(
        self,
        name: str,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        **options: object,
    ) -> ProcessSpec:
        return ProcessSpec(name, command, environment, self.home.path, **options)  # pyright: ignore[reportArgumentType]
