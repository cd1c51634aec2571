"""What can go wrong with a stack, in words for the person at the terminal. Knows nothing else."""

from typing import Final


class StackError(Exception):
    """The stack cannot do what was asked; the message says why and what to do, without a secret."""


class PortBusyError(StackError):
    """A TCP port that the stack needs belongs to somebody else.

    Args:
        port: The port.
        purpose: What the stack needs it for.
    """

    def __init__(self, port: int, purpose: str) -> None:
        super().__init__(
            f"port {port} ({purpose}) is in use by another process; "
            "choose another base port with `datanika up --port N` (it uses N to N+3)"
        )
        self.port = port


class ControlPlaneUnavailableError(StackError):
    """The control plane's internal API does not answer as it should; the message says how."""


class LocationsUnavailableError(StackError):
    """The control plane does not say which orgs have published what.

    Args:
        reason: What it did instead.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the control plane does not list the published manifests: {reason}")


TROUBLE_OF_ONE: Final = (StackError, OSError, ValueError, LookupError, OverflowError)
"""What one org's number, definitions, files or answers can cause where orgs are gone through one by one.

Whoever does that catches these around each org, says which and why, and goes on to the next one: a cron
expression that never ticks and a number that is none are ValueErrors, a time zone that this machine does
not have is a LookupError, a user that the system does not know an OverflowError.
"""
