"""`If-Match` is read as RFC 9110 has it."""

import pytest

from control_plane.core.errors import BadRequest, PreconditionFailed
from control_plane.core.etags import ANY_VERSION, parse_if_match


@pytest.mark.parametrize(
    "text", ["*", " * ", '"7"', '"6", "7"', '"6","7",', ' ,, "7" ', '"a,b" , "7"']
)
def test_lets_version_seven_pass(text: str):
    parse_if_match(text).require(7)


@pytest.mark.parametrize("text", ['"6"', 'W/"7"', '"07"', '"7 "', '""', '"6", W/"7"', '"7,"'])
def test_stops_version_seven_or_cannot_be_read(text: str):
    with pytest.raises((PreconditionFailed, BadRequest)):
        parse_if_match(text).require(7)


def test_names_both_versions():
    with pytest.raises(PreconditionFailed, match=r'expects version "6", and it is version "7"'):
        parse_if_match('"6"').require(7)


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "7", "'7'", '"7', '7"', '"7" "8"', '"7" x', "w/7", '*, "7"', '"7", *', '"\0"'],
)
def test_refuses_what_is_no_list_of_tags(text: str):
    with pytest.raises(BadRequest, match="If-Match takes"):
        parse_if_match(text)


def test_nothing_asked_lets_everything_pass():
    ANY_VERSION.require(1)


def test_a_long_header_takes_no_time():
    with pytest.raises(BadRequest):
        parse_if_match('"7"' + " , " * 100_000 + "x")
