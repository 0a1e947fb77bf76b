"""Variables of the environment that a submitted job is given by name (`--env NAME`): a token of a
model hub, credentials of a store.

Ray's own way, `env_vars` of the runtime environment, writes their values into its logs, its state
and its dashboard (ray#28276, #39502). So they go another one: as a package of their own under a
name that is drawn, which lies in the memory of the head node alone. Each process of the job reads
it as it starts, the job's supervisor too, from which the driver inherits; a Ray of the job's own
calls `take_environment` in each worker (`worker_process_setup_hook`). The driver deletes it when it
ends; of one that is killed it stays as long as the cluster.

Who may run code on the cluster may read them, there as anywhere in a process's memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from distill.core.errors import JobError

_DELETE_SECONDS = 10.0
VARIABLE = "DISTILL_ENVIRONMENT"
"""Environment variable: the URI under which the values lie."""
SETUP_HOOK = f"{__name__}.take_environment"


@dataclass(frozen=True)
class PackedEnvironment:
    """Values of variables, and the URI under which they are stored."""

    uri: str
    content: bytes = field(repr=False)


def pack_environment(names: Sequence[str]) -> PackedEnvironment:
    """Return the values of variables of this process, and a URI that nothing has. Raises JobError
    where one is not set."""
    values = {}
    for name in names:
        if "=" in name:
            # the rest is not repeated
            raise JobError(
                f"--env {name.partition('=')[0]}=…: takes the name alone; the value is taken from"
                " this environment, so that it stands in no list of processes."
            )
        if name not in os.environ:
            raise JobError(
                f"--env {name}: is not set in this environment. Set it, or leave it out."
            )
        values[name] = os.environ[name]
    uri = f"gcs://_ray_pkg_{uuid.uuid4().hex}.zip"
    text = json.dumps(values)
    return PackedEnvironment(uri, text.encode())


def take_environment() -> None:
    """Set the variables in this process; what Ray calls in each of a job. Raises RuntimeError where
    they are gone: the driver has ended."""
    from ray.experimental import internal_kv

    stored = internal_kv._internal_kv_get(os.environ[VARIABLE])
    if stored is None:
        raise RuntimeError("the job is over: its driver has deleted its variables")
    os.environ.update(json.loads(stored))


def delete_environment() -> None:
    """Delete what was stored for this driver, if anything was."""
    uri = os.environ.get(VARIABLE)
    address = os.environ.get("RAY_ADDRESS")
    if not uri or not address:
        return
    # also by a driver that found nothing left to do, and so has no Ray
    import ray

    # a head that is gone has lost them, and the driver's own end is what is to be told
    with contextlib.suppress(ray.exceptions.RayError):
        client = ray._raylet.GcsClient(address=address)
        client.internal_kv_del(uri.encode(), False, None, timeout=_DELETE_SECONDS)
