"""Who knocks: from where, and under which request id, before anybody knows who it is."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from control_plane.access.sessions.origin import Origin, origin_of
from control_plane.access.users.identity_log import ACTOR_NAME_CHARACTERS
from control_plane.audit.service import Actor
from control_plane.core.requests import client_address, trace_id


@dataclass(frozen=True)
class Visitor:
    """One request of somebody.

    Attributes:
        address: The client's address, None where the socket has none.
        origin: What a session remembers of the client.
        request_id: Ties audit entries to the request's log lines.
    """

    address: str | None
    origin: Origin
    request_id: str | None

    def as_actor(self, user_id: int | None, name: str) -> Actor:
        """Returns this visitor as an actor of the audit log.

        Args:
            user_id: None for an address without an account, and for one whose owner is not proven.
            name: The e-mail address that they gave.
        """
        name = name[:ACTOR_NAME_CHARACTERS]
        return Actor("user", user_id, name, self.origin.ip_address, self.request_id)


async def visitor_of(request: Request) -> Visitor:
    """Returns who sends a request."""
    return Visitor(client_address(request), origin_of(request), trace_id(request))


VisitorDep = Annotated[Visitor, Depends(visitor_of)]
