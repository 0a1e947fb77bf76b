"""Ray's job API over HTTP: submit, look, stop; `follow` follows.

Ray's own client is left aside for what it does with the token. It takes another address from the
environment (`RAY_ADDRESS`, `RAY_API_SERVER_ADDRESS`) than it is given, follows redirects wherever
they lead, and asks whichever proxy and `.netrc` it finds; and it imports all of Ray, which takes
longer than most of these commands. Here one connection goes where the address says.

Exit codes: of a driver that ended Ray stores the code (`driver_exit_code`); one that a signal ended
has its negative number there, and one that was stopped has none, which was by SIGTERM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from distill.core.errors import InputError, JobError
from distill.engine.ray.submission.dashboard import Dashboard

_SIGNALLED = 128
_TERMINATED = _SIGNALLED + 15
_OVER = ("STOPPED", "SUCCEEDED", "FAILED")
_NOT_BEGUN = "RUNTIME_ENV_SETUP_FAILURE"
_CONNECT_SECONDS = 10
_SILENT_SECONDS = 120
_MOST_LETTERS = 2_000


@dataclass(frozen=True)
class SubmittedJob:
    """What the cluster knows of a job that it was sent."""

    id: str
    job: str
    """The job file's name, where it was sent by `distill submit`."""
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    exit_code: int | None
    """As a shell tells it; None as long as it is not over."""
    message: str
    began: float
    """Seconds since 1970."""
    ended: float | None

    @property
    def is_over(self) -> bool:
        return self.state in _OVER


class JobClient:
    """Speaks to one dashboard. All methods raise JobError for what is refused (a token, an unknown
    job), InputError where nothing answers."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard

    def ray_version(self) -> str:
        """Return the cluster's version of Ray."""
        answer = self._ask("GET", "/api/version")
        return str(answer["ray_version"])

    def has(self, uri: str) -> bool:
        """Return whether the cluster has what lies under a URI. Ray deletes it some minutes later,
        also where it is stored only afterwards, unless a job needs it as a package by then."""
        status, _ = asyncio.run(self._send("GET", _package_path(uri)))
        return status == 200

    def store(self, uri: str, content: bytes) -> None:
        """Store something under a URI."""
        self._ask("PUT", _package_path(uri), content=content)

    def submit(self, request: Mapping[str, Any]) -> str:
        """Submit a job; return its id."""
        answer = self._ask("POST", "/api/jobs/", json=request)
        return str(answer["submission_id"])

    def job(self, id: str) -> SubmittedJob:
        """Return what is known of a job."""
        return _submitted_job(self._ask("GET", f"/api/jobs/{id}"))

    def jobs(self) -> list[SubmittedJob]:
        """Return all jobs that were submitted, the oldest first."""
        answers = self._ask("GET", "/api/jobs/")
        found = [_submitted_job(each) for each in answers if each.get("submission_id")]
        return sorted(found, key=lambda each: each.began)

    def stop(self, id: str) -> bool:
        """Ask a job to stop; return whether it was at work."""
        answer = self._ask("POST", f"/api/jobs/{id}/stop")
        return bool(answer["stopped"])

    def _ask(self, method: str, path: str, **sent: Any) -> Any:
        return asyncio.run(self.ask(method, path, **sent))

    async def ask(
        self, method: str, path: str, *, content: bytes | None = None, json: Any = None
    ) -> Any:
        """Send one request, and return the JSON of its answer; None where it has none."""
        status, answer = await self._send(method, path, content=content, json=json)
        if status >= 300:
            raise _refusal(self.dashboard, status, path, answer)
        return answer

    async def _send(
        self, method: str, path: str, *, content: bytes | None = None, json: Any = None
    ) -> tuple[int, Any]:
        """Return status and answer. Raises what the status of a refused token means."""
        url = self.dashboard.url + path
        try:
            async with (
                self.session() as session,
                session.request(
                    method, url, data=content, json=json, allow_redirects=False
                ) as response,
            ):
                require_token(self.dashboard, response.status)
                if response.content_type == "application/json":
                    return response.status, await response.json()
                return response.status, await response.text()
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise _silence(self.dashboard, error) from None

    def session(self) -> aiohttp.ClientSession:
        """Return a session that sends the token, through no proxy."""
        token = self.dashboard.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
        )
        return aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=False)


def _package_path(uri: str) -> str:
    return "/api/packages/" + uri.replace("://", "/")


def _submitted_job(answer: Mapping[str, Any]) -> SubmittedJob:
    metadata = answer.get("metadata") or {}
    # in milliseconds
    began = answer.get("start_time") or 0
    ended = answer.get("end_time")
    return SubmittedJob(
        id=answer["submission_id"],
        job=metadata.get("distill_job", ""),
        state=answer["status"],
        exit_code=_exit_code(answer),
        message=answer.get("message") or "",
        began=began / 1000,
        ended=ended / 1000 if ended else None,
    )


def _exit_code(answer: Mapping[str, Any]) -> int | None:
    """Return the driver's exit code as a shell would tell it; None as long as it works."""
    state = answer["status"]
    if state not in _OVER:
        return None
    if state == "STOPPED":
        return _TERMINATED
    if state == "SUCCEEDED":
        return 0
    code: int | None = answer.get("driver_exit_code")
    if code is None:
        # the driver never was, or was lost with its node
        return 2 if answer.get("error_type") == _NOT_BEGUN else 1
    return code if code >= 0 else _SIGNALLED - code


def require_token(dashboard: Dashboard, status: int) -> None:
    """Raise JobError where the status says that the token is not the cluster's."""
    if status == 401:
        raise JobError(
            f"{dashboard.url} asks for a token, and none was sent: {dashboard.token_from}. Set"
            " RAY_AUTH_TOKEN_PATH to the file that the cluster was started with, or RAY_AUTH_TOKEN."
        )
    if status == 403:
        raise JobError(
            f"{dashboard.url} does not take the token from {dashboard.token_from}. Give the one"
            " that the cluster was started with."
        )


def _refusal(dashboard: Dashboard, status: int, path: str, answer: Any) -> InputError:
    if status == 404:
        missing = path.rstrip("/").removesuffix("/stop").rpartition("/")[2]
        return JobError(
            f"{dashboard.url} knows of no {missing!r}. `distill jobs` names those that it knows;"
            " a cluster that was started anew knows none of those before: submit again, which goes"
            " on from what is committed."
        )
    text = str(answer)[-_MOST_LETTERS:]
    return InputError(f"{dashboard.url}{path}: answers {status}: {text}")


def _silence(dashboard: Dashboard, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(
        f"no dashboard answers at {dashboard.url}: {reason}. Is the cluster"
        " up, with `--include-dashboard` and the extra distill[cluster], and the tunnel open?"
    )
