"""The names of dbt tests: as asset checks that people read, and as dbt resources.

A check name is unique per model, `not_null_flight_id`. dbt wants test names that are unique in
the whole project, so it gets `not_null_flight_id~stg_flights`: model names cannot hold a tilde,
hence no selector that names a test can ever match a model.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from datanika_manifest.names import slugify
from datanika_manifest.transformations import ColumnTest, ModelSource

SEPARATOR = "~"


@dataclass(frozen=True)
class NamedTest:
    """A declared test together with its names.

    Attributes:
        test: The declaration.
        check_name: The asset check's name, unique per model.
        dbt_name: The dbt test's name, unique per project.
    """

    test: ColumnTest
    check_name: str
    dbt_name: str


def named_tests(model: ModelSource) -> Iterator[NamedTest]:
    """Yields the model's tests with their names, in the order of declaration.

    The same declarations give the same names. A second test that would have a first one's name
    gets a number: `accepted_values_origin_2`.
    """
    taken: Counter[str] = Counter()
    for test in model.tests:
        base = _base_name(test)
        taken[base] += 1
        name = base if taken[base] == 1 else f"{base}_{taken[base]}"
        while taken[name] > 1:
            taken[base] += 1
            name = f"{base}_{taken[base]}"
        if name != base:
            taken[name] += 1
        yield NamedTest(test, name, f"{name}{SEPARATOR}{model.name}")


def _base_name(test: ColumnTest) -> str:
    name = f"{test.type}_{slugify(test.column)}"
    if test.type == "relationships" and test.to:
        name += f"_{slugify(test.to.rpartition('.')[2])}"
    return name


def describe(test: ColumnTest) -> str:
    """Returns one sentence that says what the test expects."""
    match test.type:
        case "not_null":
            return f"{test.column} is never null."
        case "unique":
            return f"{test.column} has no value twice."
        case "accepted_values":
            return f"{test.column} is one of {', '.join(map(str, test.values))}."
        case "relationships":
            return f"Each {test.column} exists as {test.field or test.column} in {test.to}."
