"""What a mutation is about, read from its arguments; and whether all of that is the org's own.

Dagster looks at each thing by itself and goes on with those that it finds. Here a mutation that names
one thing of somebody else's does nothing at all.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dagster._core.remote_representation.handle import CompoundID
from graphene.utils.str_converters import to_camel_case

from datanika_dagster.gateway.errors import not_found
from datanika_dagster.gateway.org_context import OrgRequestContext

_KINDS: Final[Mapping[str, str]] = {
    "backfillId": "backfill",
    "jobName": "job",
    "locationName": "code_location",
    "parentRunId": "run",
    "partitionsDefName": "partitions_definition",
    "pipelineName": "job",
    "repositoryLocationName": "code_location",
    "rootRunId": "run",
    "runId": "run",
    "runIds": "run",
    "scheduleName": "schedule",
    "sensorName": "sensor",
}
"""What the arguments of mutations name, wherever in them."""


@dataclass(frozen=True)
class Target:
    """One thing.

    Attributes:
        kind: One of `intents.TARGET_KINDS`.
        id: Its name or number; an asset's path joined with slashes.
    """

    kind: str
    id: str


def own_targets(
    context: OrgRequestContext, field: str, arguments: Mapping[str, Any]
) -> list[Target]:
    """Returns what a mutation is about.

    Raises:
        FieldRefused: Something of it is not the org's own, or does not exist.
    """
    found = list(dict.fromkeys(_named(arguments)))
    if field == "reexecutePartitionBackfill":
        found = [Target("backfill", one.id) if one.kind == "run" else one for one in found]
    if field in {"stopRunningSchedule", "stopSensor"}:
        found.append(_by_state(context, field, arguments))
    for target in found:
        is_own = _IS_OWN.get(target.kind)
        if is_own is not None and not is_own(context, target.id):
            raise not_found(target.kind.replace("_", " "))
    return found


def _named(value: Any, name: str = "") -> Iterator[Target]:
    if isinstance(value, Mapping):
        path = value.get("path")
        if isinstance(path, list):
            yield Target("asset", "/".join(map(str, path)))
        for key, inner in value.items():
            yield from _named(inner, to_camel_case(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, name)
    elif isinstance(value, str) and name in _KINDS:
        yield Target(_KINDS[name], value)


def _by_state(context: OrgRequestContext, field: str, arguments: Mapping[str, Any]) -> Target:
    """Finds what these mutations name by the id under which its state is stored."""
    kind, prefix = ("schedule", "schedule") if field == "stopRunningSchedule" else ("sensor", "job")
    asked = _compound_id(arguments, prefix)
    for location in context.code_locations:
        for repository in location.get_repositories().values():
            ticking = repository.get_schedules() if kind == "schedule" else repository.get_sensors()
            for one in ticking:
                if one.get_compound_id() == asked:
                    return Target(kind, one.name)
    raise not_found(kind)


def _compound_id(arguments: Mapping[str, Any], prefix: str) -> CompoundID | None:
    """Reads the id in each of the forms that Dagster's resolvers read."""
    id_ = arguments.get("id")
    origin_id = arguments.get(f"{prefix}_origin_id")
    selector_id = arguments.get(f"{prefix}_selector_id")
    for text in (id_, origin_id):
        if text and CompoundID.is_valid_string(text):
            return CompoundID.from_string(text)
    if origin_id and selector_id and not id_:
        return CompoundID(remote_origin_id=origin_id, selector_id=selector_id)
    return None


_IS_OWN: Final[Mapping[str, Callable[[OrgRequestContext, str], bool]]] = {
    "asset": lambda context, path: path.split("/", 1)[0] == context.principal.org,
    "backfill": lambda context, id_: context.instance.get_backfill(id_) is not None,
    "code_location": lambda context, name: name == context.principal.location,
    "run": lambda context, id_: context.instance.get_run_by_id(id_) is not None,
}
