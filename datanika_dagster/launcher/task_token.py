"""The task token of this process, where the process is a run.

It came in the run's sealed order: it is in no environment, no argument list and no file. It is kept in
memory only; reading manifests does not use it up.
"""

from dataclasses import dataclass, field


@dataclass
class _Holder:
    token: str | None = field(default=None, repr=False)


_HOLDER = _Holder()


def keep(token: str) -> None:
    """Makes this process a run with a token."""
    _HOLDER.token = token


def token_of_process() -> str | None:
    """Returns the run's task token, None for a process that was given none."""
    return _HOLDER.token
