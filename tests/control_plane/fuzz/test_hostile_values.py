"""Values that break servers, in each place of each operation's valid request.

Each is either taken or refused as the document says: never an error of the server's own, and what
is sent for a secret never comes back.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from control_plane.core.pagination import encode_cursor
from tests.control_plane.access.matrix.rows import NO_SLOT, ROWS
from tests.control_plane.fuzz.conftest import OPERATIONS, Target

DEEP = "[" * 50_000 + "]" * 50_000
# JSON texts: Python's own encoder would refuse some of them.
HOSTILE = {
    "null": "null",
    "a number beyond 64 bits": "9223372036854775808",
    "a number beyond 64 bits below zero": "-9223372036854775809",
    "a number of 400 digits": "9" * 400,
    "a number of 5,000 digits": "9" * 5_000,
    "a float beyond its range": "1e999",
    "not a number": "NaN",
    "a NUL": '"a\\u0000b"',
    "a lone surrogate": '"\\ud800"',
    "a line break and a format": '"%s\\r\\n{0.__class__}"',
    "a long text": json.dumps("x" * 70_000),
    "a list": '[[], {}, "x"]',
    "an object": '{"": {"$ref": "#"}}',
    "a list 3,000 deep": "[" * 3_000 + "]" * 3_000,
}
IDS = ["9223372036854775808", "-1", "0", "9" * 5_000, "1e3", "%00", "..%2f..", "%ff", "%D9%A1"]
CURSORS = [
    "",
    "=",
    "é",
    "AA",
    "W10",
    "Ww",
    *(encode_cursor(*p) for p in [(2**63,), (-1,), ("a",), (None,), (True,), (1.5,), ([],)]),
    *(encode_cursor(*p) for p in [("a\0", "b"), ("0001-01-01T00:00:00", "x"), ("9999", "x")]),
    encode_cursor("2026-01-01T00:00:00+99:99", "x"),
    "W" * 5_000,
]
MARK = '"«here»"'


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Returns where a value of a body stands, the body itself first."""
    yield path
    if isinstance(body, dict | list):
        for key, value in body.items() if isinstance(body, dict) else enumerate(body):
            yield from places(value, (*path, key))


def with_hostile(body: Any, path: tuple[Any, ...], value: str) -> str:
    """Returns a body's JSON with another value in one place."""
    if not path:
        return value
    changed = copy.deepcopy(body)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = json.loads(MARK)
    return json.dumps(changed, ensure_ascii=False).replace(MARK, value)


def send(http: httpx.Client, target: Target, **parts: Any) -> httpx.Response:
    values = {name: str(value) for name, value in target.valid.path.items()}
    path = target.operation.path.format(**{**values, **parts.pop("path", {})})
    headers = {**target.headers, "Content-Type": "application/json", **parts.pop("headers", {})}
    return http.request(target.operation.method, target.url + path, headers=headers, **parts)


def wrong(target: Target, name: str, answer: httpx.Response) -> Iterator[str]:
    if not target.explains(answer.status_code):
        yield f"{name}: {answer.status_code} {answer.text[:300]}"
    is_problem = answer.status_code >= 400
    if is_problem and answer.headers["Content-Type"] != "application/problem+json":
        yield f"{name}: {answer.headers['Content-Type']}"


WITH_BODY = sorted(
    name
    for name, operation in OPERATIONS.items()
    if operation.dependant.body_params and ROWS[name].because != NO_SLOT
)


@pytest.mark.parametrize("target", WITH_BODY, indirect=True)
def test_in_a_body(target: Target, http: httpx.Client):
    found: list[str] = []
    for path in places(target.valid.body):
        for name, value in HOSTILE.items():
            content = with_hostile(target.valid.body, path, value).encode("utf-8", "surrogatepass")
            answer = send(http, target, content=content)
            found += wrong(target, f"{name} at {path}", answer)
    for name, content in {
        "nothing": b"",
        "no JSON": b"{",
        "deep": DEEP.encode(),
        "no UTF-8": b'"\xff\xfe"',
    }.items():
        found += wrong(target, name, send(http, target, content=content))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "target", [n for n in OPERATIONS if "{" in n and ROWS[n].because != NO_SLOT], indirect=True
)
def test_in_a_path(target: Target, http: httpx.Client):
    content = json.dumps(target.valid.body).encode()
    found: list[str] = []
    for name in target.valid.path:
        for value in IDS:
            if f"{{{name}}}" in target.operation.path:
                answer = send(http, target, path={name: value}, content=content)
                found += wrong(target, f"{name} {value[:30]}", answer)
    assert not found, "\n" + "\n".join(found)


def parameters(target: Target) -> list[str]:
    return [one.alias for one in target.operation.dependant.query_params]


WITH_QUERY = [n for n, one in OPERATIONS.items() if one.dependant.query_params]


@pytest.mark.parametrize("target", WITH_QUERY, indirect=True)
def test_in_a_query(target: Target, http: httpx.Client):
    found: list[str] = []
    for name in parameters(target):
        for value in [*CURSORS, "9" * 400, "\0", "2026-01-01", "-1"]:
            answer = send(http, target, params={**target.valid.query, name: value})
            found += wrong(target, f"{name} {value[:30]!r}", answer)
    assert not found, "\n" + "\n".join(found)


HEADERS = [
    ("Authorization", "Bearer"),
    ("Authorization", "Basic Og=="),
    ("Authorization", "Bearer \xff"),
    ("Authorization", "Bearer " + "a." * 3_000),
    ("X-API-Key", "etf_\xe9"),
    ("Idempotency-Key", "\xff" * 300),
    ("If-Match", '"99999999999999999999"'),
    ("If-Match", "W/\xff"),
    ("Cookie", "datanika_session=\xff"),
]


@pytest.mark.parametrize(
    "target", [n for n in OPERATIONS if OPERATIONS[n].method in {"GET", "PATCH"}], indirect=True
)
def test_in_headers(target: Target, http: httpx.Client):
    content = json.dumps(target.valid.body).encode()
    found: list[str] = []
    for name, value in HEADERS:
        answer = send(http, target, content=content, headers={name: value.encode("latin-1")})
        found += wrong(target, f"{name}: {value[:30]!r}", answer)
    assert not found, "\n" + "\n".join(found)
