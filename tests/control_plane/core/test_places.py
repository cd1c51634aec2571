"""Many requests at once are answered, one after the other, and keep nobody out."""

import asyncio
import time
from contextlib import closing

import httpx
import pytest

from control_plane.core import places
from control_plane.core.errors import Unavailable
from control_plane.core.places import PLACES, THREADS, Places
from tests.fixtures.control_plane import LiveApi

REQUESTS = 200
DEADLINE_SECONDS = 40


async def status_of(port: int, path: str, authorization: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer[9:12] or 0)


def request(client: httpx.Client) -> tuple[str, str]:
    path = f"/api/v1/orgs/{client.org}"  # type: ignore[attr-defined]
    return path, client.headers["Authorization"]


def test_a_crowd_is_answered_and_another_tenant_with_it(live_api: LiveApi):
    with closing(live_api.sign_up()) as crowd, closing(live_api.sign_up()) as victim:
        requests = [request(crowd), request(victim)]
    port = int(live_api.url.rsplit(":", 1)[1])

    async def run() -> tuple[list[int], int, float]:
        started_at = time.monotonic()
        asked = [asyncio.create_task(status_of(port, *requests[0])) for _ in range(REQUESTS)]
        await asyncio.sleep(0.1)
        status = await status_of(port, *requests[1])
        waited_seconds = time.monotonic() - started_at
        return await asyncio.gather(*asked), status, waited_seconds

    statuses, status, waited_seconds = asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))
    assert statuses == [200] * REQUESTS
    assert status == 200
    assert waited_seconds < DEADLINE_SECONDS / 2


def test_so_is_one_that_nobody_has_signed_in(live_api: LiveApi):
    port = int(live_api.url.rsplit(":", 1)[1])

    async def run() -> list[int]:
        asked = [status_of(port, "/ready", "none") for _ in range(REQUESTS)]
        return await asyncio.gather(*asked)

    statuses = asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))
    assert statuses == [200] * REQUESTS


def test_who_finds_no_place_in_time_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "WAIT_SECONDS", 0.05)

    async def run() -> None:
        few = Places(1)
        async with few.take():
            with pytest.raises(Unavailable, match="busy"):
                await few.take().__aenter__()
        async with few.take():
            pass

    asyncio.run(run())


def test_each_place_and_each_thread_finds_a_connection(app_engine):
    assert app_engine.pool.size() + app_engine.pool._max_overflow >= PLACES + THREADS
