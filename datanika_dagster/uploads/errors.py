"""How an upload fails, in words that name the table, the column or the setting."""

import psycopg

from datanika_dagster.launcher.job import JobError

_RETRYABLE_CLASSES = (
    "08",  # connection exception
    "40",  # transaction rollback: serialization failure, deadlock
    "53",  # insufficient resources
    "57P",  # operator intervention: shutdown, crash
)
_RETRYABLE_STATES = ("55P03", "25006")  # lock not available · read-only while a standby takes over


def missing_table(schema: str, table: str) -> JobError:
    """The source table is not there, or the role cannot see it."""
    return JobError(
        "upload.table_missing",
        f'The source has no table "{schema}"."{table}" that the connection\'s role can read.',
        field=f"{schema}.{table}",
    )


def missing_column(table: str, column: str, purpose: str) -> JobError:
    """A column that the upload names is not there (any more)."""
    return JobError(
        "upload.column_missing",
        f'The source table "{table}" has no column "{column}", which {purpose} names.',
        field=column,
    )


def refused_type(table: str, column: str, type_name: str, reason: str) -> JobError:
    """A column's type cannot be carried without loss."""
    return JobError(
        "upload.type_refused",
        f'Column "{column}" of "{table}" has the type {type_name}, which cannot be copied '
        f"exactly: {reason}.",
        field=column,
    )


def refused_change(table: str, column: str, message: str) -> JobError:
    """The source's columns have changed in a way that the destination does not follow."""
    return JobError(
        "upload.schema_changed", f'Column "{column}" of "{table}" {message}.', field=column
    )


def invalid(message: str, field: str) -> JobError:
    """A setting of the upload contradicts the source or another setting."""
    return JobError("upload.invalid", message, field=field)


def busy(upload: str, seconds: float) -> JobError:
    """Another run of the same upload holds its lock."""
    return JobError(
        "upload.busy",
        f"Another run of upload '{upload}' is still loading after {seconds:g} s of waiting.",
        is_retryable=True,
    )


def lock_lost(upload: str) -> JobError:
    """The session that held the upload's lock has ended."""
    return JobError(
        "upload.lock_lost",
        f"The lock of upload '{upload}' was lost: the destination ended its session. Another run "
        "may be loading.",
        is_retryable=True,
    )


def from_database(error: psycopg.Error, side: str) -> JobError:
    """Turns a failed statement into an error without connection details.

    Only the server's primary message is kept: DETAIL and CONTEXT repeat rows of the tenant.

    Args:
        error: What psycopg raised.
        side: `source` or `destination`.
    """
    state = error.sqlstate or ""
    if not state and isinstance(error, psycopg.OperationalError):
        return JobError(
            f"upload.{side}_lost",
            f"The connection to the {side} database was lost.",
            is_retryable=True,
        )
    message = error.diag.message_primary or "the statement failed"
    column = f' (column "{error.diag.column_name}")' if error.diag.column_name else ""
    return JobError(
        f"upload.{side}_failed",
        f"The {side} database refused: {message}{column}.",
        field=error.diag.column_name,
        is_retryable=_is_retryable(state),
    )


def from_dlt(error: BaseException) -> JobError:
    """Turns a failure of dlt outside of the copy into an error without connection details.

    dlt's own text repeats SQL, paths and tracebacks; the server's message below it says enough.

    Args:
        error: What dlt raised.
    """
    lowest: BaseException = error
    while (below := lowest.__cause__ or lowest.__context__) is not None:
        lowest = below
    diagnostics = getattr(lowest, "diag", None)
    state = getattr(lowest, "pgcode", None) or ""
    is_lost = diagnostics is not None and not state
    reason = getattr(diagnostics, "message_primary", None)
    reason = reason or ("the connection was lost" if is_lost else type(lowest).__name__)
    return JobError(
        "upload.destination_failed",
        f"Preparing the destination failed: {reason}.",
        is_retryable=is_lost or _is_retryable(state),
    )


def failed_tables(failures: dict[str, JobError], total: int) -> JobError:
    """Sums up the tables that failed; the others are loaded.

    Args:
        failures: Reason per table name.
        total: Tables that were to be loaded.
    """
    reasons = "; ".join(f"{table}: {error.message}" for table, error in failures.items())
    only = next(iter(failures.values())) if len(failures) == 1 else None
    return JobError(
        only.code if only else "upload.failed",
        f"{len(failures)} of {total} tables failed. {reasons}",
        field=only.field if only else None,
        is_retryable=all(error.is_retryable for error in failures.values()),
    )


def _is_retryable(state: str) -> bool:
    return state.startswith(_RETRYABLE_CLASSES) or state in _RETRYABLE_STATES
