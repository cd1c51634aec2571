"""Writes GraphQL operations from the schema: a root field with everything that its answer can say."""

from functools import cache
from typing import Any

from dagster_graphql.schema import create_schema
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

DEPTH = 3


@cache
def stock_schema() -> GraphQLSchema:
    return create_schema().graphql_schema


def operation(
    kind: str, name: str, depth: int = DEPTH, left_out: frozenset[str] = frozenset()
) -> str:
    """Returns an operation with one variable for each argument of a root field.

    Args:
        kind: `query` or `mutation`.
        name: The root field.
        depth: How deep it asks.
        left_out: Aliases of fields that are not asked for.
    """
    root = getattr(stock_schema(), f"{kind}_type")
    field = root.fields[name]
    declared = ", ".join(f"${argument}: {one.type}" for argument, one in field.args.items())
    given = ", ".join(f"{argument}: ${argument}" for argument in field.args)
    head = f"{kind} it({declared})" if declared else f"{kind} it"
    call = f"{name}({given})" if given else name
    return f"{head} {{ {call} {_selection(field.type, depth, left_out)} }}"


def _selection(type_: Any, depth: int, left_out: frozenset[str]) -> str:
    named = get_named_type(type_)
    if is_leaf_type(named):
        return ""
    if isinstance(named, GraphQLUnionType):
        parts = [f"... on {one.name} {_fields(one, depth, left_out)}" for one in named.types]
    elif isinstance(named, GraphQLInterfaceType):
        possible = stock_schema().get_possible_types(named)
        parts = [f"... on {one.name} {_fields(one, depth, left_out)}" for one in possible]
    else:
        return _fields(named, depth, left_out)
    return "{ __typename " + " ".join(parts) + " }"


def _fields(type_: GraphQLObjectType, depth: int, left_out: frozenset[str]) -> str:
    chosen = ["__typename"]
    for name, field in type_.fields.items():
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        named = get_named_type(field.type)
        # The same name may have different types in the members of a union.
        alias = f"{name}_{type_.name}"
        if alias in left_out:
            continue
        if is_leaf_type(named):
            chosen.append(f"{alias}: {name}")
        elif depth > 1:
            chosen.append(f"{alias}: {name} {_selection(field.type, depth - 1, left_out)}")
    return "{ " + " ".join(chosen) + " }"
