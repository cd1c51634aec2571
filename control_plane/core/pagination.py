"""Cursor pages: `{"data": […], "next_cursor": …}`.

A cursor is the opaque position of the last row of a page. It carries no authority: the query
that it continues is scoped like any other.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from control_plane.core.errors import Invalid

DEFAULT_LIMIT = 20
MAXIMUM_LIMIT = 100

Item = TypeVar("Item")
View = TypeVar("View", bound=BaseModel)
Limit = Annotated[int, Query(ge=1, le=MAXIMUM_LIMIT, description="Rows per page.")]
CursorText = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    data: list[Item]
    next_cursor: str | None = None


def encode_cursor(*position: Any) -> str:
    """Returns the cursor of a position (JSON values)."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[Any]:
    """Returns the position of a cursor.

    Raises:
        Invalid: The text is not a cursor that this API handed out.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError, RecursionError):
        position = None
    if not isinstance(position, list):
        raise Invalid.field("/cursor", "is not a cursor of this API; use `next_cursor` as it came")
    return position  # pyright: ignore[reportUnknownVariableType]


def cursor_id(cursor: str | None) -> int | None:
    """Returns the row id that a list ordered by id continues after.

    Raises:
        Invalid: The text is not such a cursor.
    """
    if cursor is None:
        return None
    position = decode_cursor(cursor)
    # `true` is an int for Python, and none for the database.
    if len(position) != 1 or type(position[0]) is not int:
        raise Invalid.field("/cursor", "is not a cursor of this list")
    return position[0]


def cut(rows: Sequence[Item], limit: int) -> tuple[Sequence[Item], bool]:
    """Splits rows that were read with `limit + 1` into a page and whether more follow."""
    return rows[:limit], len(rows) > limit


def page_of(rows: Sequence[Any], limit: int, view: type[View]) -> Page[View]:
    """Makes the page of rows, ordered by id, that were read with `limit + 1`.

    Args:
        rows: ORM rows.
        limit: Rows per page.
        view: The Pydantic model of an item, readable from attributes.
    """
    data, has_more = cut(rows, limit)
    items = [view.model_validate(row, from_attributes=True) for row in data]
    return Page(data=items, next_cursor=encode_cursor(data[-1].id) if has_more else None)
