"""`ETag` and `If-Match`: a writer names the version that was read, and a late one is refused.

RFC 9110, section 13.1.1: tags are compared strongly, so that a weak one (`W/"7"`) never matches.
A resource's tag is its version in quotes; nothing else is ever handed out.
"""

import re
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, Field

from control_plane.core.errors import BadRequest, PreconditionFailed

# RFC 9110, section 8.8.3: what an entity-tag is.
_TAG = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"')
_COMMA = re.compile(r"[ \t]*,[ \t,]*")
_HELP = (
    'The version that you have read, in quotes as its `ETag` says it, for example `"7"`; the '
    "answer is 412 where it is another one by now. `*`: any."
)


class VersionedView(BaseModel):
    """A resource whose answers carry an `ETag`."""

    version: int = Field(description="Rises with each change; the `ETag` is this in quotes.")


View = TypeVar("View", bound=VersionedView)


@dataclass(frozen=True)
class IfMatch:
    """The versions that a writer expects.

    Attributes:
        tags: Any of these, without their quotes; None lets every version pass.
    """

    tags: frozenset[str] | None = None

    def require(self, version: int) -> None:
        """Lets a writer go on who has seen `version`.

        Raises:
            PreconditionFailed: The writer expects another one.
        """
        if self.tags is None or str(version) in self.tags:
            return
        expected = ", ".join(f'"{tag}"' for tag in sorted(self.tags)[:3]) or "a weak tag"
        raise PreconditionFailed(
            f'If-Match expects version {expected}, and it is version "{version}" now; read it '
            "again and decide anew."
        )


ANY_VERSION = IfMatch()


def parse_if_match(text: str) -> IfMatch:
    """Reads the value of `If-Match`.

    Raises:
        BadRequest: It is neither `*` nor a list of entity-tags.
    """
    if text.strip(" \t") == "*":
        return ANY_VERSION
    rest = text.strip(" \t,")
    tags: set[str] = set()
    position = 0
    while match := _TAG.match(rest, position):
        if not match["weak"]:
            tags.add(match["opaque"])
        position = match.end()
        if not (comma := _COMMA.match(rest, position)):
            break
        position = comma.end()
    if not rest or position < len(rest):
        raise BadRequest(
            'If-Match takes "*" or a list of tags in quotes with commas between them, each as an '
            'ETag says it, for example "7".'
        )
    return IfMatch(frozenset(tags))


async def _read_if_match(
    request: Request,
    if_match: Annotated[str | None, Header(alias="If-Match", description=_HELP)] = None,
) -> IfMatch:
    if if_match is None:
        return ANY_VERSION
    # A header may come in several lines, which are one list.
    return parse_if_match(",".join(request.headers.getlist("if-match")))


class ETag:
    """Says in the answer's `ETag` which version of a resource it shows.

    Args:
        response: The answer to come.
    """

    def __init__(self, response: Response) -> None:
        self._response = response

    def __call__(self, view: View) -> View:
        """Returns `view` after taking its version into the answer's headers."""
        self._response.headers["ETag"] = f'"{view.version}"'
        return view


async def _get_etag(response: Response) -> ETag:
    return ETag(response)


IfMatchDep = Annotated[IfMatch, Depends(_read_if_match)]
ETagDep = Annotated[ETag, Depends(_get_etag)]
