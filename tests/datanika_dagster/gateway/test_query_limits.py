"""A document that would take a core for long is refused before anything is done with it."""

import time

import pytest
from graphql import build_schema, parse, validate

from datanika_dagster.gateway.errors import FieldRefused
from datanika_dagster.gateway.query_limits import refuse_costly

SCHEMA = build_schema("type Query { a: Query b: String } type Subscription { a: Query }")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("{" + "a{b} " * 6 + "}", "more than 5 times"),
        ("subscription{a{" + "a{b} " * 2000 + "}}", "more than 200 fields"),
        ("{" + "".join(f"x{n}: b " for n in range(300)) + "}", "more than 200 fields"),
        ("{" + "".join(f"x{n}: b " for n in range(60)) + "}", "more than 40 things"),
        ("fragment f on Query {" + "a{b} " * 20 + "} {...f}", "more than 5 times"),
        ("{" + "a{b} " * 20_000 + "}", "more than 60000 characters"),
        ("{" + "a{b}" * 14_000 + "}", "more than 12000 tokens"),
    ],
)
def test_what_no_page_asks_for_is_refused_at_once(query: str, why: str):
    started_at = time.process_time()
    with pytest.raises(FieldRefused, match=why):
        refuse_costly(query)
    assert time.process_time() - started_at < 1


def test_the_costliest_that_passes_is_validated_quickly():
    inner = "".join(f"x{n}: a{{b}} " for n in range(200))
    query = "{" + "".join(f"y{n}: a{{{inner}}} " for n in range(5)) + "a{b} " * 5 + "}"
    refuse_costly(query)
    started_at = time.process_time()
    validate(SCHEMA, parse(query))
    assert time.process_time() - started_at < 2


def test_what_cannot_be_parsed_is_left_to_whoever_executes_it():
    refuse_costly("{ a")
