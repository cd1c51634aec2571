"""The workspace of webserver and daemon: every org's code location, loaded once for each manifest.

The stock workspace asks every server for its id once a second, loads all of them again when one comes or
goes, and takes a location whose server is down for broken. This one watches the supervisor's two files
instead: what is loaded stays as long as its manifest is the published one, whether the server runs or
sleeps; what is new is loaded by itself, from what is kept or from the server, without the others
noticing. Locations that nobody supervises are Dagster's own business.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._core.remote_origin import CodeLocationOrigin, GrpcServerCodeLocationOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._core.workspace.workspace import CodeLocationEntry

from datanika_dagster.workspace.loading import OrgLoader, entry_in_error
from datanika_dagster.workspace.servers import FAILING, FILE_NAME, Server, Servers, version_of

POLL_SECONDS = 0.5
LOADING_POLL_SECONDS = 0.05
LOADS_AT_ONCE = 2
RETRY_SECONDS = 5.0
# Its code is at fault, and the same code will be again.
PROCESS_ERROR_RETRY_SECONDS = 60.0

logger = logging.getLogger(__name__)


class OrgWorkspace(WorkspaceProcessContext):
    """A workspace of supervised code locations.

    Args:
        instance: The Dagster instance; the supervisor's files are in its home.
        workspace_load_target: The workspace file.
        options: As of the stock class.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        workspace_load_target: WorkspaceLoadTarget | None,
        **options: Any,
    ) -> None:
        home = Path(instance.root_directory)
        self._files = (home / "workspace.yaml", home / FILE_NAME)
        self._servers = Servers(self._files[1])
        self._loader = OrgLoader(instance, self._servers, home / "definitions")
        self._loaded: dict[str, str] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._loading: dict[str, tuple[str, Future[CodeLocationEntry | None]]] = {}
        self._pool = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="code-location")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workspace-watch", daemon=True)
        self._seen = tuple(map(version_of, self._files))
        super().__init__(instance, workspace_load_target, **options)

    def __enter__(self) -> "OrgWorkspace":
        """Starts watching the supervisor's files."""
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Stops; returns when nothing is being loaded any more."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.shutdown(cancel_futures=True)
        super().__exit__(*exception)

    def _load_location(self, origin: CodeLocationOrigin, reload: bool) -> CodeLocationEntry:
        server = self._servers.find(origin.location_name)
        if server is None or not isinstance(origin, GrpcServerCodeLocationOrigin):
            return super()._load_location(origin, reload)
        known = self._current_workspace.code_location_entries.get(origin.location_name)
        if reload:
            return self._loader.from_server(origin, server.sha256)
        if known is not None and known.origin == origin:
            return known
        self._loaded.pop(origin.location_name, None)
        return entry_in_error(origin, "It is being loaded.", is_loading=True)

    def _start_watch_thread(self, origin: GrpcServerCodeLocationOrigin) -> None:
        if self._servers.find(origin.location_name) is None:
            super()._start_watch_thread(origin)

    def _watch(self) -> None:
        while not self._stopped.wait(LOADING_POLL_SECONDS if self._loading else POLL_SECONDS):
            try:
                self.look()
            except Exception:  # a file half written by hand: the next version will do
                logger.exception("The workspace cannot be loaded")

    def look(self) -> None:
        """Looks at the supervisor's files once and starts to load what is new in them."""
        seen = tuple(map(version_of, self._files))
        if seen != self._seen:
            # First: a file that cannot be read is not read again until it has changed.
            self._seen = seen
            self.refresh_workspace()
        servers = self._servers.now()
        self._take_loaded()
        for name, entry in self.get_current_workspace().code_location_entries.items():
            server = servers.get(name)
            if server is not None and self._loaded.get(name) != server.sha256:
                self._start_loading(name, entry, server)
        self._forget_others(servers)

    def _start_loading(self, name: str, entry: CodeLocationEntry, server: Server) -> None:
        sha256, retry_at = self._failed.get(name, ("", 0.0))
        is_waiting = sha256 == server.sha256 and time.monotonic() < retry_at
        if name not in self._loading and not is_waiting:
            future = self._pool.submit(self._load, entry.origin, server)
            self._loading[name] = (server.sha256, future)

    def _load(self, origin: Any, server: Server) -> CodeLocationEntry | None:
        """Returns the location; None where its server has to be woken first."""
        kept = self._loader.from_kept(origin, server.sha256)
        if kept is not None:
            return kept
        self._servers.use(origin.location_name)
        if not server.is_serving:
            return None
        return self._loader.from_server(origin, server.sha256)

    def _take_loaded(self) -> None:
        done = [(name, *found) for name, found in self._loading.items() if found[1].done()]
        for name, sha256, future in done:
            del self._loading[name]
            error = future.exception()
            if error is not None:
                self._fail(name, sha256, error)
            elif (entry := future.result()) is not None:
                self._failed.pop(name, None)
                self._loaded[name] = sha256
                self._replace(name, entry)
            else:
                self._show_failing(name, sha256)

    def _fail(self, name: str, sha256: str, error: BaseException) -> None:
        is_final = isinstance(error, DagsterUserCodeProcessError)
        pause = PROCESS_ERROR_RETRY_SECONDS if is_final else RETRY_SECONDS
        self._failed[name] = (sha256, time.monotonic() + pause)
        logger.warning("%s cannot be loaded: %s", name, str(error)[:2000])
        self._show_error(name, str(error), is_loading=not is_final)

    def _show_failing(self, name: str, sha256: str) -> None:
        server = self._servers.find(name)
        self._failed[name] = (sha256, time.monotonic() + POLL_SECONDS)
        if server is not None and server.state == FAILING:
            self._failed[name] = (sha256, time.monotonic() + RETRY_SECONDS)
            self._show_error(name, f"Its code server fails: {server.reason}", is_loading=False)

    def _show_error(self, name: str, reason: str, *, is_loading: bool) -> None:
        """Says why a location is not there; the definitions of before stay where there are some."""
        entry = self._current_workspace.code_location_entries.get(name)
        if entry is None or entry.code_location is not None:
            return
        if isinstance(entry.origin, GrpcServerCodeLocationOrigin):
            self._replace(name, entry_in_error(entry.origin, reason, is_loading=is_loading))

    def _replace(self, name: str, entry: CodeLocationEntry) -> None:
        with self._lock:
            if name in self._current_workspace.code_location_entries:
                self._current_workspace = self._current_workspace.with_code_location(name, entry)

    def _forget_others(self, servers: dict[str, Server]) -> None:
        for name in set(self._loaded) - set(servers):
            del self._loaded[name]
            self._failed.pop(name, None)
            self._loader.forget(name)
