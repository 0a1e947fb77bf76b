"""A line on loopback to a real store that delivers everything late by the same time: the latency
of a store far away, at the full speed of one nearby.

Each request's answer comes `seconds` later than it would; answers on different lines do not wait
for each other. A process of its own, so that it shares nothing with what is measured:

    with late_store(os.environ["AWS_ENDPOINT_URL"], 0.05) as url: ...
    python -m tests.late_store URL SECONDS
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_PIECE_BYTES = 1 << 18


@contextmanager
def late_store(upstream: str, seconds: float) -> Iterator[str]:
    """Start one; its URL."""
    command = [sys.executable, "-m", __name__, upstream, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def serve(upstream: str, seconds: float) -> None:
    address = urlsplit(upstream)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            writer.close()
            return
        there = asyncio.create_task(carry(reader, far_writer, 0.0))
        back = asyncio.create_task(carry(far_reader, writer, seconds))
        await asyncio.gather(there, back)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write what is read, each piece so many seconds after it came, to the end."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

    async def write() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                return
            writer.write(piece)
            await writer.drain()

    writing = asyncio.create_task(write())
    with suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            await pieces.put((loop.time() + seconds, piece))
    await pieces.put((loop.time() + seconds, b""))
    with suppress(OSError):
        await writing
    writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
