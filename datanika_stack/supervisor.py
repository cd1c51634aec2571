"""Runs a stack: starts everything in order, keeps it running, stops it in reverse order.

It decides nothing about tenants and executes nothing of theirs: it starts processes and looks at them.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psutil

from datanika_stack.base_environment import base_environment
from datanika_stack.clock import utc_now
from datanika_stack.clusters import managed_clusters
from datanika_stack.dagster_logins import ReadyOrgs
from datanika_stack.databases import ensure_databases
from datanika_stack.errors import StackError
from datanika_stack.leftovers import end_leftovers, remove_runtime_dir
from datanika_stack.locations import LocationPoller, LocationSource
from datanika_stack.own_servers import OwnServers
from datanika_stack.ports import ensure_port_free
from datanika_stack.preparation import (
    install_dagster_home,
    migrate_control_plane,
    migrate_dagster,
)
from datanika_stack.private_files import make_private_directory
from datanika_stack.process_spec import ProcessSpec, ProcessState
from datanika_stack.process_tree import adopt_orphans, end_all, is_alive, reap_orphans
from datanika_stack.processes import ManagedProcess
from datanika_stack.seal import UNSEALED, SealWatch, hint_of
from datanika_stack.stack_plan import StackPlan
from datanika_stack.state import StackState, StateFile
from datanika_stack.stop_signals import calling

_TICK_SECONDS: Final = 0.1
_SLOW_TICK_SECONDS: Final = 1.0
_WORKER_HOSTS: Final = "worker_hosts"
# Whoever starts work ends first, whoever is asked by others last.
_LAST_TO_FIRST: Final = (("control_plane",), ("gateway", "worker"), (_WORKER_HOSTS,), ("daemon",))
_HOLDERS_OF_KEYS: Final = ("control_plane", "worker")

Report = Callable[[str], None]


class Supervisor:
    """One running stack.

    Args:
        plan: What to run, where, with which secrets.
        report: Is told in a few words what happens; called from this thread alone.
    """

    def __init__(self, plan: StackPlan, report: Report) -> None:
        self._plan = plan
        self._report = report
        self._stop = threading.Event()
        self._processes: dict[str, ManagedProcess] = {}
        self._code_servers = plan.code_servers()
        self._worker_hosts = plan.worker_hosts()
        self._clusters = managed_clusters(
            plan.home, plan.ports, plan.secrets, is_embedded=plan.is_embedded
        )
        self._servers = OwnServers(plan, self._pids_of_control_plane)
        self._poller = LocationPoller(
            LocationSource(plan.internal_api()), ReadyOrgs(plan.dagster_logins()).of
        )
        self._seal = SealWatch(plan.internal_api())
        self._next_slow_tick = 0.0
        self._was_ready = False
        self._state = _first_state(plan)
        self._file = StateFile(plan.home)

    def run(self) -> None:
        """Starts the stack and returns when it has been told to stop and everything is gone.

        Raises:
            StackError: It could not be started; whatever had been started is gone.
        """
        with calling(self.request_stop, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            try:
                self._start()
                if not self._stop.is_set():
                    self._watch()
            except OSError as error:
                raise StackError(f"the system refuses what the stack needs: {error}") from error
            finally:
                self._shut_down()

    def request_stop(self) -> None:
        """Asks the stack to stop; asked again, it kills what still runs."""
        if self._stop.is_set():
            for process in self._all_processes():
                process.kill()
        self._stop.set()

    def _start(self) -> None:
        adopt_orphans()
        self._prepare_directories()
        self._check_ports()
        # First: it needs nobody, and imports for seconds.
        self._worker_hosts.start()
        self._tell("starting PostgreSQL")
        for cluster in self._clusters:
            cluster.start()
        if self._plan.endpoints.admin is not None:
            ensure_databases(self._plan.endpoints)
        self._servers.start()
        self._tell("preparing the databases")
        with ThreadPoolExecutor(max_workers=2) as pool:
            # Two chains side by side: each process starts as soon as its own database is ready.
            chains = [pool.submit(self._start_control_plane), pool.submit(self._start_dagster)]
            while not all(chain.done() for chain in chains):
                time.sleep(_TICK_SECONDS)
                self._save()
        for chain in chains:
            chain.result()
        self._tell("waiting for the processes")

    def _prepare_directories(self) -> None:
        home = self._plan.home
        make_private_directory(home.runtime_dir)
        for directory in (home.logs_dir, home.work_dir, self._plan.dbt_projects_dir):
            directory.mkdir(parents=True, exist_ok=True)
        ended = end_leftovers(home)
        if ended:
            self._report(f"ended {ended} processes of a supervisor that was killed")
        self._save()
        install_dagster_home(home.dagster_home)
        self._code_servers.prepare()

    def _check_ports(self) -> None:
        plan = self._plan
        ensure_port_free(plan.ports.api, "REST API", plan.host)
        ensure_port_free(plan.ports.dagster, "Dagster UI", plan.host)

    def _pids_of_control_plane(self) -> set[int]:
        found = [self._processes[name] for name in _HOLDERS_OF_KEYS if name in self._processes]
        return {process.pid for process in found if process.pid}

    def _start_control_plane(self) -> None:
        plan = self._plan
        log_file = plan.home.logs_dir / "migrate.log"
        operator = plan.bootstrap_environment()
        migrate_control_plane(plan.endpoints.owner, base_environment(), operator, log_file)
        self._launch(plan.control_plane())
        self._launch(plan.worker())

    def _start_dagster(self) -> None:
        plan = self._plan
        log_file = plan.home.logs_dir / "migrate.log"
        databases = plan.endpoints
        environment = plan.dagster_environment()
        migrate_dagster(databases.dagster, databases.provisioner, environment, log_file)
        self._launch(plan.gateway())
        self._launch(plan.daemon())

    def _launch(self, spec: ProcessSpec) -> None:
        if not self._stop.is_set():
            process = ManagedProcess(spec, self._plan.home.logs_dir)
            process.start()
            self._processes[spec.name] = process

    def _watch(self) -> None:
        self._poller.start()
        self._seal.start()
        while not self._stop.wait(_TICK_SECONDS):
            for process in self._processes.values():
                process.tick()
            self._worker_hosts.tick()
            if self._poller.latest is not None:
                self._code_servers.sync(self._poller.latest)
            self._code_servers.tick()
            if time.monotonic() >= self._next_slow_tick:
                self._next_slow_tick = time.monotonic() + _SLOW_TICK_SECONDS
                self._slow_tick()
            self._judge()

    def _slow_tick(self) -> None:
        for cluster in self._clusters:
            cluster.tick()
        reap_orphans({process.pid for process in self._all_processes() if process.pid})
        self._poller.keep_asking()

    def _judge(self) -> None:
        core = [*self._processes.values(), *self._worker_hosts.core()]
        is_serving = all(process.state is ProcessState.RUNNING for process in core)
        if is_serving and not self._was_ready:
            self._was_ready = True
            self._seal.ask()
            self._tell(f"ready: {self._plan.api_url}  {self._plan.dagster_url}")
        if self._was_ready:
            # An org's code server that ends again and again is that org's trouble alone.
            is_whole = is_serving and not self._poller.is_stale()
            at_best = "restarting" if self._worker_hosts.is_restarting else "running"
            self._state.state = at_best if is_whole else "degraded"
            self._notice_seal()
        self._save()

    def _notice_seal(self) -> None:
        before, self._state.seal = self._state.seal, self._seal.state
        if self._state.seal != before and (hint_of(self._state.seal) or hint_of(before)):
            self._tell(hint_of(self._state.seal) or UNSEALED)

    def _shut_down(self) -> None:
        self._stop.set()
        self._end_with("stopping")
        # Called from the last to the first, each whatever happened in those before it.
        with contextlib.ExitStack() as stages:
            stages.callback(self._end_with, "stopped")
            stages.callback(remove_runtime_dir, self._plan.home)
            for cluster in self._clusters:
                stages.callback(cluster.stop)
            stages.callback(self._end_orphans)
            stages.callback(self._servers.close)
            for names in _LAST_TO_FIRST:
                stages.callback(self._end_stage, names)
            stages.callback(self._poller.stop)
            stages.callback(self._seal.stop)

    def _end_stage(self, names: tuple[str, ...]) -> None:
        stage = [self._processes[name] for name in names if name in self._processes]
        if "gateway" in names:
            stage += self._code_servers.processes()
        if _WORKER_HOSTS in names:
            stage += self._worker_hosts.processes()
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(ManagedProcess.end, stage))

    def _end_orphans(self) -> None:
        """Ends work that outlived the process that had started it, but not the databases."""
        kept = {cluster.cluster.pid for cluster in self._clusters}
        children = [child for child in psutil.Process().children() if child.pid not in kept]
        end_all(filter(is_alive, children), grace_seconds=5.0)
        reap_orphans(set())

    def _all_processes(self) -> list[ManagedProcess]:
        return [
            *self._processes.values(),
            *self._worker_hosts.processes(),
            *self._code_servers.processes(),
        ]

    def _end_with(self, state: str) -> None:
        self._state.state = state
        self._tell(state)

    def _tell(self, phase: str) -> None:
        self._state.phase = phase
        self._save()
        # Nobody may read it any more, or its disk be full.
        with contextlib.suppress(OSError):
            self._report(phase)

    def _save(self) -> None:
        """Writes the state file if anything in it has changed."""
        clusters = [info for cluster in self._clusters if (info := cluster.info())]
        self._state.processes = clusters + self._servers.infos(self._state.started_at)
        self._state.processes += [process.info() for process in self._all_processes()]
        self._file.write(self._state)


def _first_state(plan: StackPlan) -> StackState:
    process = psutil.Process()
    if not plan.home.path.is_dir():
        raise StackError(f"{plan.home.path} is no directory")
    return StackState(
        pid=process.pid,
        created_at=process.create_time(),
        started_at=utc_now().isoformat(),
        state="starting",
        phase="starting",
        port=plan.ports.base,
        host=plan.host,
        api_url=plan.api_url,
        dagster_url=plan.dagster_url,
        database_url=plan.endpoints.shown(),
        isolation=plan.isolation.level.value,
        isolation_reason=plan.isolation.reason,
    )
