"""Names of schemas that the product makes in a destination."""

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from datanika_manifest.names import SLUG_MAX_LENGTH, is_slug, slugify

SLUG_RULE = (
    f"lower-case letters, digits and single underscores, a letter first, "
    f"at most {SLUG_MAX_LENGTH} characters"
)


def check_slug(text: str) -> str:
    """Returns a text that is a slug.

    Raises:
        PydanticCustomError: It is not; the message has the rule and the nearest slug.
    """
    if not is_slug(text):
        raise PydanticCustomError(
            "slug",
            "'{text}' is not allowed: {rule}; for example '{example}'",
            {"text": text[:SLUG_MAX_LENGTH], "rule": SLUG_RULE, "example": slugify(text)},
        )
    return text


def check_schema_name(text: str) -> str:
    """Returns the name of a schema that may be made.

    Raises:
        PydanticCustomError: It is no slug, or the database keeps it for itself.
    """
    check_slug(text)
    if text.startswith("pg_") or text == "information_schema":
        raise PydanticCustomError(
            "schema_name", "'{text}' is a schema of the database itself", {"text": text}
        )
    return text


SlugName = Annotated[str, AfterValidator(check_slug)]
SchemaName = Annotated[str, AfterValidator(check_schema_name)]
