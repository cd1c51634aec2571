"""From where somebody signs in: what a session remembers and its owner recognizes it by."""

from dataclasses import dataclass

from fastapi import Request

from control_plane.core.requests import client_address

IP_ADDRESS_CHARACTERS = 45
USER_AGENT_CHARACTERS = 200


@dataclass(frozen=True)
class Origin:
    """The client's address and what it calls itself; either may be unknown."""

    ip_address: str | None = None
    user_agent: str | None = None


def origin_of(request: Request) -> Origin:
    """Returns the origin of a request, cut to what a session stores."""
    address = client_address(request)
    agent = request.headers.get("user-agent", "")
    printable = "".join(character for character in agent if character.isprintable())
    return Origin(
        address[:IP_ADDRESS_CHARACTERS] if address else None,
        printable[:USER_AGENT_CHARACTERS] or None,
    )
