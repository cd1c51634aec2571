"""What the database refuses, as an error of the API.

The services lock what they change and say by name what clashes. What is left is rare and nobody's
mistake: two transactions that wait for each other, a row that was written at the same moment, a
database that restarts. None of that is an internal error.
"""

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from control_plane.core.errors import Conflict, DatanikaError, Unavailable

RETRY_AFTER_SECONDS = 1
# https://www.postgresql.org/docs/current/errcodes-appendix.html
# serialization_failure, deadlock_detected, lock_not_available
CONTENDED = frozenset({"40001", "40P01", "55P03"})
# query_canceled (the statement timeout), too_many_connections
OVERLOADED = frozenset({"57014", "53300"})
DISK_FULL = "53100"
# unique_violation, foreign_key_violation, exclusion_violation
CLASHES = frozenset({"23505", "23503", "23P01"})
# Classes: connection exception; operator intervention, such as a shutdown.
GONE = ("08", "57P")


def translate(error: SQLAlchemyError) -> DatanikaError | None:
    """Returns the API's error for one of the database's, None for a mistake of our own."""
    if isinstance(error, StaleDataError):
        return Conflict("Somebody else has changed this at the same moment; read it again.")
    if isinstance(error, PoolTimeout):
        return Unavailable("Every connection to the database is in use; try again in a moment.")
    if not isinstance(error, DBAPIError):
        return None
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if isinstance(error, IntegrityError):
        if state not in CLASHES:
            return None
        return Conflict("This clashes with what somebody else has written at the same moment.")
    return _unavailable(error, state)


def _unavailable(error: DBAPIError, state: str) -> Unavailable | None:
    if state in CONTENDED:
        return Unavailable("Somebody else is changing the same thing; try again in a moment.")
    if state in OVERLOADED:
        return Unavailable("The database is too busy for this; try again in a moment.")
    if state == DISK_FULL:
        return Unavailable(
            "The database's disk is full: nothing can be written until it has space."
        )
    # psycopg has no state for an error of the connection itself.
    is_connection = isinstance(error, OperationalError) and not state
    if is_connection or error.connection_invalidated or state.startswith(GONE):
        return Unavailable("The database cannot be reached; try again in a moment.")
    return None
