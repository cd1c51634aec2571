"""Slugs, joined names and code location names: what both planes take for granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanika_manifest.names import (
    SLUG_MAX_LENGTH,
    SLUG_PATTERN,
    is_slug,
    join,
    location_name,
    org_of_location,
    slugify,
)

SLUGS = st.from_regex(SLUG_PATTERN, fullmatch=True).filter(is_slug)


@given(st.text())
def test_anything_becomes_a_slug(text):
    assert is_slug(slugify(text))


@given(st.text())
def test_a_slug_stays_what_it_is(text):
    assert slugify(slugify(text)) == slugify(text)


@given(SLUGS)
def test_every_slug_is_its_own(slug):
    assert slugify(slug) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("My Company", "my_company"),
        ("Zürich__Kreis 4", "zurich_kreis_4"),
        ("2024 sales", "x_2024_sales"),
        ("日本", "x"),
        ("", "x"),
        ("a" * 70, "a" * SLUG_MAX_LENGTH),
        ("a" * (SLUG_MAX_LENGTH - 1) + " b", "a" * (SLUG_MAX_LENGTH - 1)),
    ],
)
def test_the_closest_slug(text, slug):
    assert slugify(text) == slug


@pytest.mark.parametrize(
    "text", ["", "A", "1a", "_a", "a_", "a__b", "a-b", "a\n", "é", "a" * (SLUG_MAX_LENGTH + 1)]
)
def test_what_is_no_slug(text):
    assert not is_slug(text)


@given(st.lists(SLUGS, min_size=1, max_size=4), st.lists(SLUGS, min_size=1, max_size=4))
def test_joined_names_never_collide(first, second):
    assert (join(*first) == join(*second)) == (first == second)


@given(st.lists(SLUGS, min_size=1, max_size=4))
def test_a_joined_name_can_be_taken_apart(slugs):
    assert join(*slugs).split("__") == slugs


@given(SLUGS)
def test_a_location_names_its_org(org):
    assert org_of_location(location_name(org)) == org


@pytest.mark.parametrize("name", ["org_", "org_A", "acme", "__repository__", "org_a__b", ""])
def test_a_location_of_nobody(name):
    assert org_of_location(name) is None
