"""Dagster's GraphQL schema with a guard before each root field.

The guard takes the place of `resolve` and `subscribe` in the schema object itself: middleware is not
asked on the way that WebSockets take.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from dagster_graphql.schema import create_schema
from graphene import Schema
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema

from datanika_dagster.gateway import permissions, wishes
from datanika_dagster.gateway.errors import GatewayMisconfigured, not_permitted
from datanika_dagster.gateway.fields.mutations import MUTATIONS
from datanika_dagster.gateway.fields.nested import INSTANCE_FIELDS, INSTEAD
from datanika_dagster.gateway.fields.queries import QUERIES
from datanika_dagster.gateway.fields.rules import REFUSAL, FieldRule, Table
from datanika_dagster.gateway.fields.subscriptions import SUBSCRIPTIONS
from datanika_dagster.gateway.intents import Intents
from datanika_dagster.gateway.masking import mask_errors
from datanika_dagster.gateway.org_context import OrgRequestContext
from datanika_dagster.gateway.targets import own_targets
from datanika_manifest.intents import INTENTS, Effect

TABLES: Final[Mapping[str, Table]] = {
    "Query": QUERIES,
    "Mutation": MUTATIONS,
    "Subscription": SUBSCRIPTIONS,
}


def guarded_schema(intents: Intents) -> Schema:
    """Returns Dagster's schema for people in orgs.

    Args:
        intents: Asked before each mutation.

    Raises:
        GatewayMisconfigured: A table and the schema differ.
    """
    schema = create_schema()
    types = schema.graphql_schema
    check_tables(types)
    for name, table in TABLES.items():
        for field_name, field in _fields(types, name).items():
            _put_guard(name, field_name, field, table[field_name], intents)
    for name, answer in INSTEAD.items():
        type_name, _, field_name = name.partition(".")
        _fields(types, type_name)[field_name].resolve = _always(answer)
    mask_errors(types)
    return schema


def check_tables(types: GraphQLSchema) -> None:
    """Compares the tables with a schema.

    Raises:
        GatewayMisconfigured: A field has no row, or a row no field.
    """
    expected: dict[str, set[str]] = {name: set(table) for name, table in TABLES.items()}
    expected["Instance"] = set(INSTANCE_FIELDS)
    for name, rows in expected.items():
        fields = set(_fields(types, name))
        if fields != rows:
            raise GatewayMisconfigured(
                f"The table of {name} differs from Dagster's schema: "
                f"without a row {sorted(fields - rows)}, without a field {sorted(rows - fields)}"
            )
    for name in INSTEAD:
        type_name, _, field_name = name.partition(".")
        if field_name not in _fields(types, type_name):
            raise GatewayMisconfigured(f"Dagster's schema has no {name}")
    permissions.check_table()


def _fields(types: GraphQLSchema, type_name: str) -> dict[str, GraphQLField]:
    found = types.type_map.get(type_name)
    if not isinstance(found, GraphQLObjectType):
        raise GatewayMisconfigured(f"Dagster's schema has no type {type_name}")
    return found.fields


def _put_guard(
    type_name: str, name: str, field: GraphQLField, rule: FieldRule, intents: Intents
) -> None:
    way = "subscribe" if type_name == "Subscription" else "resolve"
    original = rule.instead or getattr(field, way)
    if original is None:
        raise GatewayMisconfigured(f"{type_name}.{name} has no {way} to guard")
    if type_name == "Mutation":
        original = _asking_first(name, original, intents)
    setattr(field, way, _guarded(name, rule, original))


def _guarded(name: str, rule: FieldRule, original: Callable[..., Any]) -> Callable[..., Any]:
    def guard(root: Any, info: Any, **arguments: Any) -> Any:
        context = info.context
        if not isinstance(context, OrgRequestContext):
            raise not_permitted(name)
        if rule.role is None:
            if rule.answer is REFUSAL:
                raise not_permitted(name)
            return rule.answer
        if not context.principal.role.at_least(rule.role):
            raise not_permitted(name)
        return original(root, info, **arguments)

    return guard


def _asking_first(name: str, original: Callable[..., Any], intents: Intents) -> Callable[..., Any]:
    def ask_and_do(root: Any, info: Any, **arguments: Any) -> Any:
        context: OrgRequestContext = info.context
        if not permissions.may(context.principal, name):
            raise not_permitted(name)
        wishes.clean(arguments)
        targets = own_targets(context, name, arguments)
        is_launch = INTENTS[name].effect is Effect.LAUNCH
        launches = wishes.launches_in(arguments) if is_launch else 0
        context.launch_ids.extend(intents.declare(context.principal, name, targets, launches))
        return original(root, info, **arguments)

    return ask_and_do


def _always(answer: Any) -> Callable[..., Any]:
    return lambda *_, **__: answer
