"""Engine, sessions and the declarative base.

One request is one transaction. The org of a session is told to PostgreSQL at the start of each
transaction (`SET LOCAL`, through `set_config`), where row-level security reads it; a session
without an org sees no org's rows.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Engine,
    Identity,
    MetaData,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    SessionTransaction,
    declared_attr,
    mapped_column,
    sessionmaker,
)
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.core.clock import utc_now

ORG_SETTING = "app.org_id"
ENTERS_BY_STATEMENT = "enters_by_statement"
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
STATEMENT_TIMEOUT_MILLISECONDS = 30_000
LOCK_TIMEOUT_MILLISECONDS = 10_000
# Connections are for all threads and all requests that hold one (`core/places.py`): nobody waits long.
POOL_TIMEOUT_SECONDS = 5.0
# A connection that was used a moment ago is alive; asking each time would cost a round trip.
PING_AFTER_IDLE_SECONDS = 2.0


class Base(DeclarativeBase):
    """Base of every table of the control plane."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        int: BigInteger,
    }


class IdMixin:
    """An integer identity primary key."""

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, sort_order=-10)


class TimestampMixin:
    """When a row came to be and when it last changed."""

    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now, sort_order=91)


class VersionMixin:
    """A number that each change raises; `ETag` shows it and a late writer is refused by it."""

    version: Mapped[int] = mapped_column(default=1, server_default="1", sort_order=93)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        """Makes every UPDATE of the ORM compare and raise the version."""
        return {"version_id_col": cls.__dict__.get("version", cls.version)}


class SoftDeleteMixin:
    """Deleted rows stay until retention removes them; every read leaves them out."""

    deleted_at: Mapped[datetime | None] = mapped_column(default=None, sort_order=92)


def make_engine(url: str, *, pool_size: int = 20, max_overflow: int = 44) -> Engine:
    """Makes the engine of a process.

    Args:
        url: SQLAlchemy URL of the row-level-secured role.
        pool_size: Connections that stay open.
        max_overflow: How many more may be open for a moment.
    """
    options = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MILLISECONDS}"
        f" -c lock_timeout={LOCK_TIMEOUT_MILLISECONDS} -c timezone=UTC"
    )
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        hide_parameters=True,
        connect_args={"options": options, "application_name": "datanika-control-plane"},
    )
    _replace_dead_connections(engine)
    return engine


def _replace_dead_connections(engine: Engine) -> None:
    """Pings connections that have been idle; the pool replaces the dead ones."""

    @event.listens_for(engine, "checkin")
    def note_time(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        idle_since = record.info.get("idle_since")
        if idle_since is None or time.monotonic() - idle_since < PING_AFTER_IDLE_SECONDS:
            return
        try:
            is_alive = engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.OperationalError:
            is_alive = False
        if not is_alive:
            raise DisconnectionError


def make_session_factory(bind: Engine | Connection, **options: Any) -> sessionmaker[Session]:
    """Makes the factory of sessions; their transactions carry the session's org."""
    factory = sessionmaker(bind, expire_on_commit=False, autoflush=True, **options)
    event.listen(factory, "after_begin", _on_begin)
    return factory


def enter_org(session: Session, org_id: int | None) -> None:
    """Makes `session` see the rows of exactly this org from now on (None: of no org)."""
    session.info["org_id"] = org_id
    if session.in_transaction():
        _tell_org(session, session.connection())


@contextmanager
def transaction(factory: sessionmaker[Session], org_id: int | None = None) -> Generator[Session]:
    """Opens a session for one transaction that commits at the end of the block."""
    with factory() as session:
        enter_org(session, org_id)
        with session.begin():
            yield session


@contextmanager
def read_only_transaction(
    factory: sessionmaker[Session], org_id: int | None = None
) -> Generator[Session]:
    """Opens a session for one transaction in which PostgreSQL refuses every write."""
    with transaction(factory, org_id) as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        yield session


def enter_by_first_statement(session: Session) -> None:
    """Leaves it to the next transaction's first statement to say which org it is in.

    The statement sets `app.org_id`, to nothing where there is no org, and its caller says
    `entered`. It saves the round trip of every request in an org.
    """
    session.info[ENTERS_BY_STATEMENT] = True


def entered(session: Session, org_id: int) -> None:
    """Notes which org the transaction's first statement has entered."""
    session.info["org_id"] = org_id


def _on_begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if not session.info.pop(ENTERS_BY_STATEMENT, False):
        _tell_org(session, connection)


def _tell_org(session: Session, connection: Connection) -> None:
    org_id = session.info.get("org_id")
    connection.execute(
        text("SELECT set_config(:name, :value, true)"),
        {"name": ORG_SETTING, "value": "" if org_id is None else str(org_id)},
    )
