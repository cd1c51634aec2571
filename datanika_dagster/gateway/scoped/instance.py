"""An org's own Dagster instance: Dagster's class on an org's storages."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from dagster import DagsterInstance
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from datanika_dagster.event_log import OrgsEventLogStorage
from datanika_dagster.gateway.principal import Principal
from datanika_dagster.gateway.scoped.compute_logs import OrgComputeLogs
from datanika_dagster.gateway.scoped.event_log_storage import AssetKeys, OrgEventLogStorage
from datanika_dagster.gateway.scoped.ownership import Ownership
from datanika_dagster.gateway.scoped.run_control import OrgRunCoordinator, OrgRunLauncher
from datanika_dagster.gateway.scoped.run_storage import OrgRunStorage
from datanika_dagster.gateway.scoped.schedule_storage import OrgScheduleStorage
from datanika_dagster.storage import StampingRunStorage

_OWNERSHIPS: Final[WeakKeyDictionary[DagsterInstance, dict[str, Ownership]]] = WeakKeyDictionary()
_Part = TypeVar("_Part")
_LOCK: Final = threading.Lock()


class InstanceNotScopable(Exception):
    """An instance has other storages than the platform's."""


class OrgInstance(DagsterInstance):
    """A Dagster instance in which there is nothing but one org."""

    def info_dict(self) -> Mapping[str, object]:
        """Returns nothing: how the platform is installed is not the orgs' business."""
        return {}

    def info_str(self) -> str:
        """Returns nothing, likewise."""
        return ""

    def schema_str(self) -> str:
        """Returns nothing, likewise."""
        return ""


def scoped_instance(
    instance: DagsterInstance,
    principal: Principal,
    location_asset_keys: AssetKeys,
    launch_ids: deque[str] | None = None,
) -> OrgInstance:
    """Returns an org's own instance, as somebody there may use it.

    It is cheap: one for each request. What is found out about the org is shared by all of them.

    Args:
        instance: Everybody's, with the rights of the tables' owner.
        principal: Who asks.
        location_asset_keys: Returns the assets that the org's code location defines; only of these
            something may be reported by hand.
        launch_ids: The launches that the control plane has noted for the runs of this request; each
            run that is stored takes the next.

    Raises:
        InstanceNotScopable: Its storages do not say whose their rows are.
    """
    own = _ownership(instance, principal.org)
    role = principal.role
    # The decorator `facade` gives these classes the methods that a type checker misses.
    schedules = OrgScheduleStorage(  # pyright: ignore[reportAbstractUsage]
        instance.schedule_storage, own, role
    )
    return OrgInstance(
        instance._instance_type,
        instance._local_artifact_storage,
        OrgRunStorage(  # pyright: ignore[reportAbstractUsage]
            *(_checked(instance.run_storage, StampingRunStorage), own, role),
            actor=principal.actor,
            # Not `or`: it is filled later, by whoever has it.
            launch_ids=deque() if launch_ids is None else launch_ids,
        ),
        OrgEventLogStorage(  # pyright: ignore[reportAbstractUsage]
            *(_checked(instance.event_log_storage, OrgsEventLogStorage), own, role),
            asset_keys=location_asset_keys,
        ),
        OrgRunCoordinator(_checked(instance.run_coordinator, QueuedRunCoordinator), own, role),
        OrgComputeLogs(
            *(_checked(instance.compute_log_manager, LocalComputeLogManager), own, role),
            ticks=schedules,
        ),
        OrgRunLauncher(  # pyright: ignore[reportAbstractUsage]
            instance.run_launcher, own, role
        ),
        scheduler=instance.scheduler,
        schedule_storage=schedules,
        settings=_settings(instance),
        # Dry runs tell a code server by it where the storage is; no secret is in it.
        ref=instance.get_ref(),
    )


def _settings(instance: DagsterInstance) -> dict[str, Any]:
    """Returns the settings without the limits by tag: they name whose runs they are for."""
    concurrency = dict(instance.get_settings("concurrency"))
    runs = {**concurrency.get("runs", {}), "tag_concurrency_limits": []}
    return {**(instance._settings or {}), "concurrency": concurrency | {"runs": runs}}


def _ownership(instance: DagsterInstance, org: str) -> Ownership:
    with _LOCK:
        of_instance = _OWNERSHIPS.setdefault(instance, {})
        if org not in of_instance:
            storage = _checked(instance.run_storage, StampingRunStorage)
            of_instance[org] = Ownership(storage, org)
        return of_instance[org]


def _checked(part: Any, wanted: type[_Part]) -> _Part:
    if not isinstance(part, wanted):
        raise InstanceNotScopable(f"{type(part).__name__} is not {wanted.__name__}")
    return part
