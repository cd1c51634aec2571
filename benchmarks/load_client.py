"""A load generator that costs little itself: raw HTTP/1.1 over kept-alive connections."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One authenticated GET."""

    path: str
    token: str

    def encoded(self) -> bytes:
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        ).encode()


@dataclass
class Outcome:
    """What a load did to the server.

    Attributes:
        latencies_seconds: Of each answer; in an open loop from the moment it was due.
        elapsed_seconds: From the first request to the last answer.
        own_cpu_seconds: What the generator itself used.
        wrong: Answers that were not 200.
    """

    latencies_seconds: list[float] = field(default_factory=list)
    elapsed_seconds: float = 0.0
    own_cpu_seconds: float = 0.0
    wrong: int = 0

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.latencies_seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000

    @property
    def requests_per_second(self) -> float:
        return len(self.latencies_seconds) / self.elapsed_seconds


class Connection:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, request: Request) -> int:
        """Returns the status after the whole body was read."""
        self._writer.write(request.encoded())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


def closed_loop(
    port: int, requests: Sequence[Request], *, clients: int, seconds: float, seed: int
) -> Outcome:
    """Lets `clients` ask one request after the other, as fast as they are answered."""

    async def run() -> Outcome:
        outcome = Outcome()
        until = time.perf_counter() + seconds

        async def client(number: int) -> None:
            chance = random.Random(seed + number)
            connection = await Connection.open(port)
            while (started_at := time.perf_counter()) < until:
                status = await connection.get(chance.choice(requests))
                outcome.latencies_seconds.append(time.perf_counter() - started_at)
                outcome.wrong += status != 200
            connection.close()

        await asyncio.gather(*(client(number) for number in range(clients)))
        return outcome

    return _timed(run)


def open_loop(
    port: int, requests: Sequence[Request], *, per_second: float, seconds: float, seed: int
) -> Outcome:
    """Sends requests at a fixed rate, whether earlier ones were answered or not."""

    async def run() -> Outcome:
        outcome = Outcome()
        chance = random.Random(seed)
        idle: list[Connection] = [await Connection.open(port) for _ in range(8)]
        begun_at = time.perf_counter()

        async def ask(due_at: float) -> None:
            connection = idle.pop() if idle else await Connection.open(port)
            status = await connection.get(chance.choice(requests))
            outcome.latencies_seconds.append(time.perf_counter() - due_at)
            outcome.wrong += status != 200
            idle.append(connection)

        tasks = []
        for number in range(int(per_second * seconds)):
            due_at = begun_at + number / per_second
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(due_at)))
        await asyncio.gather(*tasks)
        for connection in idle:
            connection.close()
        return outcome

    return _timed(run)


def _timed(run: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
    started_at, cpu_at = time.perf_counter(), time.process_time()
    outcome = asyncio.run(run())
    outcome.elapsed_seconds = time.perf_counter() - started_at
    outcome.own_cpu_seconds = time.process_time() - cpu_at
    return outcome
