"""What a column test must and must not say, by its type."""

from collections.abc import Collection, Sequence

from control_plane.core.errors import FieldError, Invalid
from datanika_manifest.transformations import ColumnTest, Materialization

_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "not_null": (),
    "unique": (),
    "accepted_values": ("values",),
    "relationships": ("to", "field"),
}
_REQUIRED: dict[str, str] = {"accepted_values": "values", "relationships": "to"}


def check_tests(
    tests: Sequence[ColumnTest], materialization: Materialization, known: Collection[str]
) -> None:
    """Refuses tests that cannot work.

    Args:
        tests: As the author declares them.
        materialization: Of their model.
        known: What a relationships test may point to: models' names and `schema.table`.

    Raises:
        Invalid: Names each field that is wrong.
    """
    errors = [error for index in range(len(tests)) for error in _errors(tests, index, known)]
    if tests and materialization is Materialization.EPHEMERAL:
        detail = "an ephemeral model is never stored, so it cannot have tests"
        errors.append(FieldError("/tests", detail))
    if errors:
        raise Invalid("; ".join(error.detail for error in errors[:5]), errors=tuple(errors))


def _errors(tests: Sequence[ColumnTest], index: int, known: Collection[str]) -> list[FieldError]:
    test = tests[index]
    errors = [
        FieldError(f"/tests/{index}/{name}", f"a '{test.type}' test has no '{name}'")
        for name in ("values", "to", "field")
        if getattr(test, name) and name not in _ARGUMENTS[test.type]
    ]
    required = _REQUIRED.get(test.type)
    if required is not None and not getattr(test, required):
        detail = f"a '{test.type}' test of '{test.column}' needs '{required}'"
        errors.append(FieldError(f"/tests/{index}/{required}", detail))
    if test.type == "relationships" and test.to and test.to not in known:
        detail = (
            f"'{test.to}' is neither a model of this connection nor an uploaded table "
            "(schema.table)"
        )
        errors.append(FieldError(f"/tests/{index}/to", detail))
    if test in tests[:index]:
        detail = f"the '{test.type}' test of '{test.column}' is declared twice"
        errors.append(FieldError(f"/tests/{index}", detail))
    return errors
