"""How large a GraphQL document of somebody in an org may be, judged before it is validated.

GraphQL's own validation compares fields of the same name with one another, so that a few kilobytes can
take a core for a minute (https://spec.graphql.org/October2021/#sec-Field-Selection-Merging). The Dagster UI's
own documents stay far below these bounds.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from graphql import DocumentNode, GraphQLError, parse
from graphql.language import FieldNode, Node, OperationDefinitionNode, SelectionSetNode

from datanika_dagster.gateway.errors import FieldRefused

MAXIMUM_CHARACTERS: Final = 60_000
MAXIMUM_TOKENS: Final = 12_000
MAXIMUM_ROOT_FIELDS: Final = 40
MAXIMUM_SELECTIONS: Final = 200
MAXIMUM_OF_ONE_NAME: Final = 5


def refuse_costly(query: str) -> None:
    """Lets a document pass that can be validated quickly.

    What cannot be parsed passes: whoever executes it says why.

    Raises:
        FieldRefused: It is larger than any page needs.
    """
    if len(query) > MAXIMUM_CHARACTERS:
        raise _refusal(f"has more than {MAXIMUM_CHARACTERS} characters")
    try:
        document = parse(query, no_location=True, max_tokens=MAXIMUM_TOKENS)
    except GraphQLError as error:
        if "token" in error.message and str(MAXIMUM_TOKENS) in error.message:
            raise _refusal(f"has more than {MAXIMUM_TOKENS} tokens") from None
        return
    for selections in _selection_sets(document):
        _check(selections)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            fields = len(definition.selection_set.selections)
            if fields > MAXIMUM_ROOT_FIELDS:
                raise _refusal(f"asks for more than {MAXIMUM_ROOT_FIELDS} things at once")


def _selection_sets(document: DocumentNode) -> Iterator[SelectionSetNode]:
    waiting: list[Node] = list(document.definitions)
    while waiting:
        selections: SelectionSetNode | None = getattr(waiting.pop(), "selection_set", None)
        if selections is not None:
            yield selections
            waiting.extend(selections.selections)


def _check(selections: SelectionSetNode) -> None:
    if len(selections.selections) > MAXIMUM_SELECTIONS:
        raise _refusal(f"selects more than {MAXIMUM_SELECTIONS} fields in one place")
    names = Counter(
        (one.alias or one.name).value for one in selections.selections if isinstance(one, FieldNode)
    )
    if names and max(names.values()) > MAXIMUM_OF_ONE_NAME:
        raise _refusal(f"selects one field more than {MAXIMUM_OF_ONE_NAME} times in one place")


def _refusal(why: str) -> FieldRefused:
    return FieldRefused(f"The query {why}.", "graphql.too_large")
