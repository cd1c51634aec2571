"""Cursors come back as they went out; anything else is refused by name."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from control_plane.core.errors import Invalid
from control_plane.core.pagination import cursor_id, cut, decode_cursor, encode_cursor, page_of


class Row(BaseModel):
    id: int


@given(st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=4))
def test_a_position_comes_back(position):
    assert decode_cursor(encode_cursor(*position)) == position


def pointer_of_refusal(text):
    """Returns the field that a cursor's refusal names, None where the cursor is read."""
    try:
        decode_cursor(text)
    except Invalid as error:
        return error.errors[0].pointer
    return None


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text):
    assert pointer_of_refusal(text) in (None, "/cursor")


@given(st.integers())
def test_an_id_comes_back(row_id):
    assert cursor_id(encode_cursor(row_id)) == row_id


def test_no_cursor_is_the_beginning():
    assert cursor_id(None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "not a cursor",
        "é",
        "a",
        base64.urlsafe_b64encode(b'{"id": 1}').decode(),
        encode_cursor(),
        encode_cursor("1"),
        encode_cursor(1, 2),
        encode_cursor(None),
        encode_cursor(True),
        encode_cursor(1.0),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    ],
)
def test_another_lists_cursor_is_refused(cursor):
    with pytest.raises(Invalid) as caught:
        cursor_id(cursor)
    assert caught.value.errors[0].pointer == "/cursor"


def test_a_page_knows_whether_more_follow():
    assert cut([1, 2, 3], 2) == ([1, 2], True)
    assert cut([1, 2], 2) == ([1, 2], False)


def test_pages_continue_where_the_last_ended():
    rows = [Row(id=number) for number in range(5)]
    page = page_of(rows[:3], 2, Row)
    assert [item.id for item in page.data] == [0, 1]
    assert cursor_id(page.next_cursor) == 1
    assert page_of(rows[3:], 2, Row).next_cursor is None
