"""What Ray is asked to run for a job: `distill run` in the unpacked package, on the head node.

Nothing in it is secret, since Ray writes all of it into logs: the runtime environment names
packages, and of the variables only that under which their values lie.
"""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Sequence
from typing import Any

from distill.engine.ray.submission.client import JobClient
from distill.engine.ray.submission.environment import SETUP_HOOK, VARIABLE, pack_environment
from distill.engine.ray.submission.package import Package

STOP_SECONDS = 120
"""From SIGTERM, with which a driver lets the fragments in work be committed, to SIGKILL. Ray's own
3 are too few for any fragment."""
_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")


def submit_package(
    client: JobClient,
    package: Package,
    job_name: str,
    options: Sequence[str],
    variables: Sequence[str] = (),
) -> str:
    """Send a package, the values of some variables of this environment, and what is to be run;
    return the id that the cluster knows it by. Raises what the client raises, JobError for a
    variable that is not set."""
    # before anything is sent: a variable may not be set
    environment = pack_environment(variables) if variables else None
    environment_uri = environment.uri if environment else None
    request = job_request(package, job_name, options, environment_uri)
    # also where nothing is left to send: a Ray answers, and takes the token
    client.ray_version()
    if not client.has(package.uri):
        client.store(package.uri, package.content)
    if environment:
        # never looked for before, which would have Ray delete it under the job
        client.store(environment.uri, environment.content)
    return client.submit(request)


def job_request(
    package: Package, job_name: str, options: Sequence[str], environment_uri: str | None
) -> dict[str, Any]:
    """Return the body of a submission: `distill run` with some options, on a job by its name."""
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    runtime_env: dict[str, Any] = {"working_dir": package.uri, "env_vars": variables}
    if environment_uri is not None:
        variables[VARIABLE] = environment_uri
        runtime_env["worker_process_setup_hook"] = SETUP_HOOK
    words = ["python", "-m", "distill", "run", package.job_file, *options]
    name = _STRANGE.sub("-", job_name)
    return {
        "entrypoint": shlex.join(words),
        "submission_id": f"{name}-{uuid.uuid4().hex[:8]}",
        "runtime_env": runtime_env,
        "metadata": {"distill_job": job_name},
    }
