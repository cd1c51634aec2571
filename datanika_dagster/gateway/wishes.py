"""What somebody in an org may wish for in a mutation's arguments.

Runs here are platform-generated and take no configuration; tags of the platform are set by the platform.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final

from datanika_dagster.gateway.errors import FieldRefused

OWN_NAMESPACE: Final = "datanika/"
MOST_LAUNCHES: Final = 100
_EMPTY_CONFIG: Final = frozenset({"", "{}"})
_TAG_LISTS: Final = ("tags", "extraTags")

Arguments = MutableMapping[str, Any]


def clean(arguments: Arguments) -> None:
    """Takes out of a mutation's arguments what is not the caller's to say.

    The UI sends a run's tags back when it is to run again, with those of the platform: they are left
    out and not refused.

    Raises:
        FieldRefused: There is run configuration, which no job here takes.
    """
    for inner in _mappings(arguments):
        config = inner.get("runConfigData")
        if config and not (isinstance(config, str) and config.strip() in _EMPTY_CONFIG):
            raise FieldRefused("Jobs here take no run configuration.", "run_config.refused")
        for name in _TAG_LISTS:
            tags = inner.get(name)
            if isinstance(tags, list):
                inner[name] = [tag for tag in tags if not _is_platforms(tag)]


def launches_in(arguments: Mapping[str, Any]) -> int:
    """Returns how many runs a launching mutation launches.

    Raises:
        FieldRefused: They are too many.
    """
    several = arguments.get("executionParamsList")
    if several is None:
        return 1
    if len(several) > MOST_LAUNCHES:
        raise FieldRefused(f"At most {MOST_LAUNCHES} runs at once.", "launches.too_many")
    return len(several)


def _is_platforms(tag: Any) -> bool:
    return isinstance(tag, Mapping) and str(tag.get("key", "")).startswith(OWN_NAMESPACE)


def _mappings(value: Any) -> Iterator[Arguments]:
    if isinstance(value, MutableMapping):
        yield value
        for inner in list(value.values()):
            yield from _mappings(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _mappings(inner)
