"""Two orgs and everybody who may call: made once, shared by every case.

Each operation prepares its objects inside a savepoint, and each case runs in one of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.key_store.models import ApiKey
from control_plane.access.permissions import ROLE_PERMISSIONS, Permission, Role
from control_plane.access.sessions.service import start_session
from control_plane.access.sessions.tokens import ServiceRole
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.core.database import enter_org, make_session_factory
from control_plane.core.tokens import hash_token, new_token
from control_plane.core.vault import Vault
from tests.factories.access import Member, make_member, make_user

OWN, FOREIGN, MISSING = "own", "foreign", "missing"
MISSING_SLUG = "no-such-org"


@dataclass(frozen=True)
class Caller:
    """Somebody who calls.

    Attributes:
        name: Shown when a case fails.
        headers: Their credentials.
        org: The org that they belong to: `own`, `foreign`, None for none.
        permissions: What they have in it.
        is_anonymous: Nobody at all.
        is_operator: A platform operator.
        is_key: An API key, which is nobody where a person has to be signed in.
    """

    name: str
    headers: dict[str, str]
    org: str | None = None
    permissions: frozenset[Permission] = frozenset()
    is_anonymous: bool = False
    is_operator: bool = False
    is_key: bool = False


@dataclass
class World:
    """The orgs, and who calls.

    Attributes:
        orgs: `own` and `foreign`, each with its owner.
        operator: A platform operator without an org.
        callers: Everybody but the API keys, which depend on the operation.
    """

    app: FastAPI
    connection: Connection
    factory: sessionmaker[Session]
    vault: Vault
    orgs: dict[str, Member]
    operator: User
    callers: list[Caller] = field(default_factory=list)

    def slug(self, which: str) -> str:
        """Returns the slug of `own` or `foreign`, or one that nobody has."""
        return self.orgs[which].org.slug if which in self.orgs else MISSING_SLUG

    def keys(self, permission: Permission) -> list[Caller]:
        """Makes two API keys of the owner: one with this scope, one with all the others."""
        scopes = {
            "key with the scope": frozenset({permission}),
            "key with every other scope": frozenset(Permission) - {permission},
        }
        owner = self.orgs[OWN]
        return [
            Caller(name, self.make_key(owner, some), OWN, some, is_key=True)
            for name, some in scopes.items()
        ]

    def bearer(self, user: User) -> dict[str, str]:
        """Signs a user in."""
        with self.factory() as session:
            tokens = start_session(session, self.app.state.signer, user)
            session.commit()
        return {"Authorization": f"Bearer {tokens.access_token}"}

    def service(self, role: ServiceRole, which: str) -> Caller:
        """Returns one of the platform's own processes, of an org where it has one."""
        org = self.slug(which) if role is ServiceRole.CODE_LOCATION else None
        token = self.app.state.signer.service_token(role, org)
        return Caller(f"{role} of {which}", {"Authorization": f"Bearer {token}"})

    def make_key(self, member: Member, scopes: frozenset[Permission]) -> dict[str, str]:
        """Makes an API key and returns the header that presents it."""
        secret = new_token("etf_")
        with self.factory() as session:
            enter_org(session, member.org.id)
            session.add(
                ApiKey(
                    org_id=member.org.id,
                    name="key",
                    key_hash=hash_token(secret),
                    scopes=sorted(scopes),
                    created_by_user_id=member.user.id,
                )
            )
            session.commit()
        return {"X-API-Key": secret}

    @contextmanager
    def inside(self, which: str) -> Iterator[Session]:
        """Gives a session in an org that commits at the end."""
        with self.factory() as session:
            enter_org(session, self.orgs[which].org.id)
            yield session
            session.commit()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Takes back everything that the block did."""
        point = self.connection.begin_nested()
        try:
            yield
        finally:
            point.rollback()

    @contextmanager
    def counted_queries(self) -> Iterator[Callable[[], int]]:
        """Counts the statements that reach the database during the block."""
        statements: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        event.listen(self.connection, "before_cursor_execute", note)
        try:
            yield lambda: len(statements)
        finally:
            event.remove(self.connection, "before_cursor_execute", note)


def make_world(app: FastAPI, connection: Connection) -> World:
    """Makes the orgs and signs everybody in."""
    vault = app.state.vault
    factory = make_session_factory(connection, join_transaction_mode="create_savepoint")
    with factory() as session:
        orgs = {OWN: make_member(session, vault), FOREIGN: make_member(session, vault)}
        operator = make_user(session, is_platform_operator=True)
        enter_org(session, orgs[OWN].org.id)
        users = {role: make_user(session) for role in Role if role is not Role.OWNER}
        for role, user in users.items():
            UserRepository(session).add_membership(orgs[OWN].org.id, user.id, role)
        session.commit()
    world = World(app, connection, factory, vault, orgs, operator)
    users[Role.OWNER] = orgs[OWN].user
    everything = ROLE_PERMISSIONS[Role.OWNER]
    world.callers = [
        Caller("anonymous", {}, is_anonymous=True),
        *(Caller(r.value, world.bearer(users[r]), OWN, ROLE_PERMISSIONS[r]) for r in Role),
        Caller("owner of another org", world.bearer(orgs[FOREIGN].user), FOREIGN, everything),
        Caller("platform operator", world.bearer(operator), is_operator=True),
    ]
    return world
