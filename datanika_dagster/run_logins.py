"""The logins of an org in Dagster's database, and where they open it.

One for its runs and one for its code server. Their passwords are computed from a key that only the
supervisor and the daemon have, so that nobody has to keep or to send them. Pure: makes no role
(`datanika_stack/dagster_logins.py` does) and connects to nothing.
"""

import base64
import hashlib
import hmac
import re
from typing import Final

from sqlalchemy import make_url

_RUN: Final = "run"
_READER: Final = "read"
_OF_RUNS: Final = re.compile(rf"datanika_{_RUN}_[1-9][0-9]*")


def run_login(org_id: int) -> str:
    """Returns the name of the login that an org's runs have."""
    return _name(_RUN, org_id)


def reader_login(org_id: int) -> str:
    """Returns the name of the login that an org's code server has: it can only read."""
    return _name(_READER, org_id)


def is_run_login(name: str) -> bool:
    """Tells whether a role's name is that of an org's runs."""
    return _OF_RUNS.fullmatch(name) is not None


def password_of(login: str, key: str) -> str:
    """Returns a login's password.

    Args:
        login: Its name.
        key: `DATANIKA_DAGSTER_LOGIN_KEY`; another key gives other passwords.

    Raises:
        ValueError: The key is empty.
    """
    if not key:
        raise ValueError("DATANIKA_DAGSTER_LOGIN_KEY is empty: no password can be made from it")
    digest = hmac.digest(key.encode(), b"dagster login\0" + login.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def url_of(storage_url: str, org_id: int, key: str) -> str:
    """Returns Dagster's storage as an org's runs open it.

    Args:
        storage_url: The storage with any login or none, as SQLAlchemy writes it.
        org_id: The org.
        key: `DATANIKA_DAGSTER_LOGIN_KEY`.

    Raises:
        ValueError: The key is empty, or the org's number no positive one.
    """
    return _with_login(storage_url, run_login(org_id), key)


def reader_url_of(storage_url: str, org_id: int, key: str) -> str:
    """Returns Dagster's storage as an org's code server opens it; see `url_of`."""
    return _with_login(storage_url, reader_login(org_id), key)


def _name(kind: str, org_id: int) -> str:
    if org_id < 1:
        raise ValueError(f"an org's number is positive, not {org_id}")
    return f"datanika_{kind}_{org_id}"


def _with_login(storage_url: str, login: str, key: str) -> str:
    url = make_url(storage_url).set(username=login, password=password_of(login, key))
    return url.render_as_string(hide_password=False)
