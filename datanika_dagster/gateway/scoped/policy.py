"""Policies: what becomes of each public name of one of Dagster's classes in an org's instance.

A class is made of them by `facade`, which refuses a name without a policy and a policy without a name:
a Dagster that adds a method stops the start, not the wall between orgs.
"""

import inspect
from abc import ABC, abstractmethod, update_abstractmethods
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, Final, TypeVar

from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.boundary import OrgBoundary
from datanika_dagster.gateway.scoped.ownership import Kind, Ownership

Method = Callable[..., Any]


class UnclassifiedName(Exception):
    """A class of Dagster's and the table of its policies do not have the same names."""


class Facade:
    """One of Dagster's parts, as an org may use it.

    Args:
        inner: The part itself, which knows no orgs.
        own: What is the org's.
        role: What who asks is in the org.
    """

    policies: ClassVar[Mapping[str, "Policy"]]

    def __init__(self, inner: Any, own: Ownership, role: Role) -> None:
        self._inner = inner
        self._own = own
        self._role = role
        # As `MayHaveInstanceWeakref`; the parts' own constructors would connect to something.
        self._instance_weakref = None


_Made = TypeVar("_Made", bound=Facade)


@dataclass(frozen=True)
class Policy(ABC):
    """What a method does.

    Attributes:
        least: The role that may call it.
    """

    least: Role = field(default=Role.VIEWER, kw_only=True)

    @abstractmethod
    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns the method that a facade has under a name of its base."""

    def install(self, cls: type[Facade], base: type, name: str) -> None:
        """Puts it into the class of a facade, behind the role."""
        least, inner = self.least, self.method(cls, base, name)

        @wraps(getattr(base, name))
        def guarded(self: Facade, *values: Any, **named: Any) -> Any:
            if not self._role.at_least(least):  # pyright: ignore[reportPrivateUsage]
                raise OrgBoundary(name)
            return inner(self, *values, **named)

        # Of an abstract method that, too, is taken over.
        vars(guarded).pop("__isabstractmethod__", None)
        setattr(cls, name, guarded)


class Pass(Policy):
    """Tells nothing of any org, and changes nothing: as it is."""

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns the part's own."""
        return lambda facade, *values, **named: _inner(facade, name)(*values, **named)

    def install(self, cls: type[Facade], base: type, name: str) -> None:
        """Puts it there; a property stays one."""
        if isinstance(inspect.getattr_static(base, name), property):
            setattr(cls, name, property(lambda facade: _inner(facade, name)))
        else:
            super().install(cls, base, name)


class Deny(Policy):
    """Nobody in an org may do that."""

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns a refusal."""

        def refuse(*_: Any, **__: Any) -> Any:
            raise OrgBoundary(name)

        return refuse


class Ignore(Policy):
    """Nothing happens: it is for who owns the part, and an org's instance owns none."""

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns what does nothing."""
        return lambda *_, **__: None


@dataclass(frozen=True)
class Own(Policy):
    """What one argument names must be the org's.

    Attributes:
        argument: Its name.
        kind: What it names.
        otherwise: Makes the answer for what does not exist; None refuses.
    """

    argument: str
    kind: Kind
    otherwise: Callable[[], Any] | None = None

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns the part's own, behind the question."""
        signature = _signature(base, name, self.argument)

        def ask(facade: Facade, *values: Any, **named: Any) -> Any:
            bound = signature.bind(facade, *values, **named)
            if _own(facade).has(self.kind, bound.arguments.get(self.argument)):
                return _inner(facade, name)(*values, **named)
            if self.otherwise is None:
                raise OrgBoundary(name)
            return self.otherwise()

        return ask


@dataclass(frozen=True)
class OwnAmong(Policy):
    """Of what one argument lists, what is the org's.

    Attributes:
        argument: Its name.
        kind: What its items name; in pairs the first item does.
    """

    argument: str
    kind: Kind

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns the part's own, with a shorter list."""
        signature = _signature(base, name, self.argument)

        def ask(facade: Facade, *values: Any, **named: Any) -> Any:
            bound = signature.bind(facade, *values, **named)
            listed = bound.arguments.get(self.argument)
            if listed is None:
                # None means all.
                raise OrgBoundary(name)
            own = _own(facade)
            kept = [item for item in listed if own.has(self.kind, _first(item))]
            bound.arguments[self.argument] = kept
            return _inner(facade, name)(*bound.args[1:], **bound.kwargs)

        return ask


class Custom(Policy):
    """The facade's class says how."""

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns the class's own method."""
        if name not in vars(cls):
            raise UnclassifiedName(f"{cls.__name__}.{name} is said to be custom and is not there")
        method = vars(cls)[name]
        if _shape(method) != _shape(getattr(base, name)):
            raise UnclassifiedName(f"{cls.__name__}.{name} takes other arguments than Dagster's")
        return method


class Derived(Policy):
    """Dagster's own method, which asks by other methods of the facade only."""

    def method(self, cls: type[Facade], base: type, name: str) -> Method:
        """Returns the base's own method."""
        return inspect.getattr_static(base, name)

    def install(self, cls: type[Facade], base: type, name: str) -> None:
        """Puts it there; a property stays one."""
        if not isinstance(inspect.getattr_static(base, name), property):
            super().install(cls, base, name)


OF_EVERY_PART: Final[Mapping[str, Policy]] = {
    "has_instance": Derived(),
    "register_instance": Derived(),
    "dispose": Ignore(),
}


def facade(base: type, policies: Mapping[str, Policy]) -> Callable[[type[_Made]], type[_Made]]:
    """Makes a class of its policies.

    Args:
        base: The class of Dagster's whose every public name has a policy.
        policies: By name.

    Returns:
        A decorator, which raises `UnclassifiedName`.
    """
    table = {**OF_EVERY_PART, **policies}

    def make(cls: type[_Made]) -> type[_Made]:
        names = {name for name in dir(base) if not name.startswith("_")}
        if names != table.keys():
            raise UnclassifiedName(
                f"{base.__name__}: without a policy {sorted(names - table.keys())},"
                f" without a name {sorted(table.keys() - names)}"
            )
        custom = {name for name, policy in table.items() if isinstance(policy, Custom)}
        if more := names & vars(cls).keys() - custom:
            raise UnclassifiedName(f"{cls.__name__} has its own {sorted(more)}")
        for name, policy in table.items():
            policy.install(cls, base, name)
        cls.policies = table
        return update_abstractmethods(cls)

    return make


def _shape(method: Method) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters]


def _signature(base: type, name: str, argument: str) -> inspect.Signature:
    signature = inspect.signature(getattr(base, name))
    if argument not in signature.parameters:
        raise UnclassifiedName(f"{base.__name__}.{name} takes no {argument}")
    return signature


def _inner(facade: Facade, name: str) -> Any:
    return getattr(facade._inner, name)  # pyright: ignore[reportPrivateUsage]


def _own(facade: Facade) -> Ownership:
    return facade._own  # pyright: ignore[reportPrivateUsage]


def _first(item: Any) -> Any:
    return item[0] if type(item) is tuple else item
