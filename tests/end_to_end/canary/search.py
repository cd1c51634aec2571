"""Looks for secrets in files, databases and processes, and says where each was found."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from tests.end_to_end.canary.needles import Canaries

CHUNK_BYTES = 1_000_000
LONGEST_FORM_BYTES = 1_000


def in_files(root: Path, canaries: Canaries, leave_out: Iterable[Path] = ()) -> list[str]:
    """Returns the hits in every file below a directory."""
    left_out = set(leave_out)
    found: list[str] = []
    for directory, names, files in os.walk(root):
        here = Path(directory)
        names[:] = [name for name in names if here / name not in left_out]
        for file in files:
            path = here / file
            if path not in left_out and path.is_file():
                found += [f"{path}: {name}" for name in in_file(path, canaries)]
    return sorted(set(found))


def in_file(path: Path, canaries: Canaries) -> Iterator[str]:
    """Returns the hits in a file, also those that lie across two chunks."""
    before = b""
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield from canaries.found_in(before + chunk)
                before = chunk[-LONGEST_FORM_BYTES:]
    except FileNotFoundError:
        return  # a file of a run that has ended meanwhile


TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_toast' AND (%(everything)s
  OR n.nspname IN ('pg_catalog', 'information_schema') OR c.relname LIKE '\\_dlt%%')
"""
# Views of the server that show what sessions have sent, and settings.
VIEWS = [("pg_catalog", "pg_stat_activity"), ("pg_catalog", "pg_settings")]


def in_database(dsn: str, canaries: Canaries, *, everything: bool = True) -> list[str]:
    """Returns the hits in every column of every table, or in the catalogs only."""
    found: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
        tables = cursor.execute(TABLES, {"everything": everything}).fetchall()
        for schema, table in [*tables, *VIEWS]:
            query = sql.SQL("COPY (SELECT t::text FROM {} t) TO STDOUT")
            names: set[str] = set()
            with cursor.copy(query.format(sql.Identifier(schema, table))) as rows:
                for block in rows:
                    names |= canaries.found_in(bytes(block))
            if names:
                found.append(f"{connection.info.dbname}.{schema}.{table}: {sorted(names)}")
    return found


def in_processes(pids: Iterable[int], canaries: Canaries) -> list[str]:
    """Returns the hits in the command lines and environments of processes."""
    found: list[str] = []
    for pid in pids:
        for part in ("cmdline", "environ"):
            try:
                text = Path(f"/proc/{pid}/{part}").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or it is the kernel's
            found += [f"{process_name(pid)} {part}: {one}" for one in canaries.found_in(text)]
    return found


def process_name(pid: int) -> str:
    """Returns a process's program and arguments, shortened; no environment."""
    try:
        return " ".join(psutil.Process(pid).cmdline())[:120] or str(pid)
    except psutil.Error:
        return str(pid)


def with_descendants(pids: Iterable[int]) -> set[int]:
    """Returns processes with everything that descends from them."""
    found: set[int] = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found |= {pid, *(child.pid for child in process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return found
