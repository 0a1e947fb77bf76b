"""The log of a submitted job, as it is written, until the job is over.

Ray's dashboard sends it from its beginning and then line by line, over a connection that a tunnel,
a proxy or a laptop's sleep may break for hours of work to come. So it is opened again, and what
came before is passed over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp

from distill.core.errors import InputError, JobError, WorkError
from distill.engine.ray.submission.client import JobClient, SubmittedJob, require_token

# a head that restarts is back after some seconds, a laptop that slept after longer
_AWAY_SECONDS = 180.0
_PAUSE_SECONDS = 1.0
# below what proxies take for an idle connection
_HEARTBEAT_SECONDS = 30.0


def follow_job(client: JobClient, id: str, write: Callable[[str], None]) -> SubmittedJob:
    """Write a job's log from its beginning, as it comes, until the job is over, and return what
    became of it. Raises WorkError where the log stays broken off, JobError where it is refused."""
    log = _Log(write)
    heard = time.monotonic()
    while True:
        trouble = "the connection is closed at once"
        opened = time.monotonic()
        try:
            whole = asyncio.run(_tail(client, id, log))
            if time.monotonic() - opened > _PAUSE_SECONDS:
                heard = time.monotonic()
            found = client.job(id)
            # a line that broke may have taken the end of the log along
            if whole and found.is_over:
                return found
        except JobError:
            raise  # nothing that passes
        except (aiohttp.ClientError, InputError, OSError) as error:
            trouble = str(error)
        if time.monotonic() - heard > _AWAY_SECONDS:
            raise WorkError(
                f"the log of {id} broke off, and {client.dashboard.url} did not give it again for"
                f" {_AWAY_SECONDS:.0f} s: {trouble}. The job goes on; `distill logs {id}` follows"
                " it again."
            )
        time.sleep(_PAUSE_SECONDS)


class _Log:
    """What was written of a log that is sent from its beginning each time."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self.letters = 0
        """Written so far."""
        self.repeated = 0
        """Of those, how many this connection has sent once more."""

    def take(self, text: str) -> None:
        """Write what is new of a text."""
        # not negative: what was sent once more is part of what was written
        known = min(len(text), self.letters - self.repeated)
        self.repeated += len(text)
        new = text[known:]
        if new:
            self.write(new)
            self.letters += len(new)


async def _tail(client: JobClient, id: str, log: _Log) -> bool:
    """Take a job's log until the connection ends; return whether the cluster ended it."""
    url = f"{client.dashboard.url}/api/jobs/{id}/logs/tail"
    log.repeated = 0
    async with client.session() as session:
        try:
            connection = await session.ws_connect(url, heartbeat=_HEARTBEAT_SECONDS, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            require_token(client.dashboard, error.status)
            raise
        async for message in connection:
            # also what went wrong comes as a message: a heartbeat without an answer
            if message.type is aiohttp.WSMsgType.TEXT:
                log.take(message.data)
        return connection.close_code == aiohttp.WSCloseCode.OK
