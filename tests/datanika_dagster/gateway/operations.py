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
# They fail for every unpartitioned asset, and take the rest of the answer with them.
LEFT_OUT = {
    "AssetNode.dataVersionByPartition",
    "DaemonHealth.daemonStatus",
    "PartitionBackfill.partitionNames",
}


@cache
def stock_schema() -> GraphQLSchema:
    return create_schema().graphql_schema


def operation(kind: str, name: str, depth: int = DEPTH) -> str:
    """Returns an operation with one variable for each argument of a root field."""
    root = getattr(stock_schema(), f"{kind}_type")
    field = root.fields[name]
    declared = ", ".join(f"${argument}: {one.type}" for argument, one in field.args.items())
    given = ", ".join(f"{argument}: ${argument}" for argument in field.args)
    head = f"{kind} it({declared})" if declared else f"{kind} it"
    call = f"{name}({given})" if given else name
    return f"{head} {{ {call} {_selection(field.type, depth)} }}"


def _selection(type_: Any, depth: int) -> str:
    named = get_named_type(type_)
    if is_leaf_type(named):
        return ""
    if isinstance(named, GraphQLUnionType):
        parts = [f"... on {one.name} {_fields(one, depth)}" for one in named.types]
    elif isinstance(named, GraphQLInterfaceType):
        possible = stock_schema().get_possible_types(named)
        parts = [f"... on {one.name} {_fields(one, depth)}" for one in possible]
    else:
        return _fields(named, depth)
    return "{ __typename " + " ".join(parts) + " }"


def _fields(type_: GraphQLObjectType, depth: int) -> str:
    chosen = ["__typename"]
    for name, field in type_.fields.items():
        if f"{type_.name}.{name}" in LEFT_OUT:
            continue
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        named = get_named_type(field.type)
        # The same name may have different types in the members of a union.
        alias = f"{name}_{type_.name}"
        if is_leaf_type(named):
            chosen.append(f"{alias}: {name}")
        elif depth > 1:
            chosen.append(f"{alias}: {name} {_selection(field.type, depth - 1)}")
    return "{ " + " ".join(chosen) + " }"
