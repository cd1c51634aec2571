"""Names that both planes agree on: slugs, asset keys and code location names.

A slug never contains two underscores in a row, never ends in one and never starts with a
digit, so that joining slugs with a double underscore cannot make two different names equal.
"""

import re
import unicodedata
from typing import Annotated

from pydantic import StringConstraints

SLUG_PATTERN = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
SLUG_MAX_LENGTH = 63

Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN, max_length=SLUG_MAX_LENGTH)]
"""An immutable name part: of an org, a connection, a schema or a table."""

AssetKey = tuple[Slug, Slug, Slug, Slug]
"""`(org, connection, schema, table)`, the key of every asset (architecture, decision 8)."""

SEPARATOR = "__"
LOCATION_PREFIX = "org_"


def slugify(text: str, *, fallback: str = "x") -> str:
    """Returns the slug closest to `text`.

    Args:
        text: Any text, for example an organization's or a table's name.
        fallback: Put in front where nothing usable is left or where the text starts with a digit.

    Returns:
        A string that matches `SLUG_PATTERN`, at most `SLUG_MAX_LENGTH` characters long.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = "_".join(part for part in re.split(r"[^a-z0-9]+", plain) if part)
    if not slug or not slug[0].isalpha():
        slug = f"{fallback}_{slug}" if slug else fallback
    return slug[:SLUG_MAX_LENGTH].rstrip("_")


def is_slug(text: str) -> bool:
    """Tells whether `text` is a slug as it stands."""
    return len(text) <= SLUG_MAX_LENGTH and re.fullmatch(SLUG_PATTERN, text) is not None


def location_name(org: str) -> str:
    """Returns the name of an org's Dagster code location."""
    return f"{LOCATION_PREFIX}{org}"


def org_of_location(name: str) -> str | None:
    """Returns the org that owns the code location `name`, None for a location of nobody's."""
    org = name.removeprefix(LOCATION_PREFIX)
    return org if name.startswith(LOCATION_PREFIX) and is_slug(org) else None


def join(*slugs: str) -> str:
    """Joins slugs to one Dagster name (op, schedule, pool) that no other slugs can produce."""
    return SEPARATOR.join(slugs)
