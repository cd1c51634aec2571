"""What one request of somebody in an org sees of Dagster: their code location and their instance.

The workspace behind it is everybody's; no way leads from here to it but the two methods of
`OrgProcess` that name the org's own location.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dagster import AssetKey, DagsterInstance
from dagster._core.workspace.context import (
    IWorkspaceProcessContext,
    WorkspaceRequestContext,
)
from dagster._core.workspace.permissions import PermissionResult
from dagster._core.workspace.workspace import CodeLocationEntry, CurrentWorkspace

from datanika_dagster.gateway import permissions
from datanika_dagster.gateway.errors import not_permitted
from datanika_dagster.gateway.principal import Principal
from datanika_dagster.workspace.context import OrgWorkspace

OwnInstance = Callable[[Principal, Callable[[], Collection[AssetKey]], deque[str]], DagsterInstance]
"""Makes a principal's view of the instance.

It is given the assets that the org defines, and the launches that the request's runs come from.
"""


class OrgRequestContext(WorkspaceRequestContext):
    """One request of one principal.

    Args:
        process: The org's view of the process.
        principal: Who asks.
        source: The request, without what proves the session.

    Attributes:
        launch_ids: The launches that the control plane has noted for the runs of this request; the
            run storage takes one for each run that it is given.
    """

    def __init__(self, process: "OrgProcess", principal: Principal, source: Any) -> None:
        super().__init__(
            instance=process.instance,
            current_workspace=process.workspace_now(),
            process_context=process,
            version=process.version,
            source=source,
            read_only=True,
        )
        self.principal = principal
        self.launch_ids = process.launch_ids
        self._process = process

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """What somebody in an org may do in the whole deployment: nothing."""
        return permissions.in_deployment()

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """Returns what the principal may do in a code location."""
        is_own = location_name == self.principal.location
        return permissions.in_location(self.principal if is_own else None)

    @property
    def show_instance_config(self) -> bool:
        """The configuration is the deployment's."""
        return False

    def reload_code_location(self, name: str) -> "OrgRequestContext":
        """Loads the org's definitions anew."""
        self._process.reload_code_location(name)
        return self._process.create_request_context(self.source)

    def reload_workspace(self) -> NoReturn:
        """Refuses: the workspace is everybody's."""
        raise not_permitted("reloadWorkspace")

    def shutdown_code_location(self, name: str) -> NoReturn:
        """Refuses: the supervisor starts and ends code servers."""
        raise not_permitted("shutdownRepositoryLocation")


class OrgProcess(IWorkspaceProcessContext[OrgRequestContext]):
    """The process as one principal sees it.

    Args:
        workspace: Everybody's.
        own: The org's part of it, kept between requests.
        own_instance: Makes the org's view of the instance.
        principal: Who asks.
    """

    def __init__(
        self,
        workspace: OrgWorkspace,
        own: "OwnLocations",
        own_instance: "OwnInstance",
        principal: Principal,
    ) -> None:
        self.workspace = workspace
        self.launch_ids: deque[str] = deque()
        self._own = own
        self._principal = principal
        self._instance = own_instance(principal, self.asset_keys, self.launch_ids)

    @property
    def instance(self) -> DagsterInstance:
        """The org's view of the instance."""
        return self._instance

    @property
    def version(self) -> str:
        """Dagster's version."""
        return self.workspace.version

    def workspace_now(self) -> CurrentWorkspace:
        """Returns the workspace with the org's code location alone."""
        return self._own.of(self._principal)

    def asset_keys(self) -> Collection[AssetKey]:
        """Returns the assets that the org's code location defines."""
        return self.workspace_now().asset_graph.get_all_asset_keys()

    def create_request_context(self, source: Any | None = None) -> OrgRequestContext:
        """Returns the context of one request of the principal."""
        return OrgRequestContext(self, self._principal, source)

    def reload_code_location(self, name: str) -> None:
        """Loads the org's definitions anew.

        Raises:
            FieldRefused: The location is not the org's.
        """
        if name != self._principal.location:
            raise not_permitted("reloadRepositoryLocation")
        self.workspace.reload_code_location(name)

    def reload_workspace(self) -> NoReturn:
        """Refuses: the workspace is everybody's."""
        raise not_permitted("reloadWorkspace")

    def refresh_workspace(self) -> NoReturn:
        """Refuses: the workspace is everybody's."""
        raise not_permitted("refreshWorkspace")


@dataclass
class OwnLocations:
    """The workspaces of orgs, each with one code location, made again when that location changes.

    What Dagster derives of a workspace (its asset graph) it keeps in that object, so an org's stays
    as long as nothing of the org has changed, whatever becomes of the others.

    Attributes:
        workspace: Everybody's.
    """

    workspace: OrgWorkspace
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, tuple[CodeLocationEntry, CurrentWorkspace]] = field(default_factory=dict)

    def of(self, principal: Principal) -> CurrentWorkspace:
        """Returns the workspace of an org; an empty one where it has no code location yet."""
        name = principal.location
        entry = self.workspace.get_current_workspace().code_location_entries.get(name)
        with self._lock:
            known = self._known.get(name)
            if entry is None:
                self._known.pop(name, None)
                return CurrentWorkspace(code_location_entries={})
            if known is None or known[0] is not entry:
                known = (entry, CurrentWorkspace(code_location_entries={name: entry}))
                self._known[name] = known
            return known[1]
