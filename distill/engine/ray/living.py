"""How many labelling workers there are, for whoever watches the run."""

from __future__ import annotations

import time
from typing import Any

from distill.core.events import tell
from distill.engine.ray.resources import Needs

_LOOK_SECONDS = 1.0
# a look at a thousand actors is a megabyte
_ACTORS_A_SECOND = 200.0


class LivingWorkers:
    """Tells of the number of a job's living actors of one class when it changes, and what each of
    them holds."""

    def __init__(self, ray: Any, class_name: str, needs: Needs) -> None:
        self.ray = ray
        self.class_name = class_name
        self.needs = needs
        self.count = 0
        self._looked = time.monotonic()
        tell("workers", workers=0)

    def look(self) -> None:
        """Count them, where the last count is old enough. Raises RayError where the head node does
        not answer."""
        now = time.monotonic()
        pause = max(_LOOK_SECONDS, self.count / _ACTORS_A_SECOND)
        if now - self._looked < pause:
            return
        self._looked = now
        self._tell(self._living())

    def end(self) -> None:
        """None of them is there any more."""
        self._tell(0)

    def _tell(self, count: int) -> None:
        if count != self.count:
            self.count = count
            tell("workers", workers=count, cpus=self.needs.cpus, gpus=self.needs.gpus)

    def _living(self) -> int:
        # Ray's own tool for this (`ray.util.state`) asks the dashboard, which a Ray may not have
        from ray._private.state import state

        job = self.ray.JobID(bytes.fromhex(self.ray.get_runtime_context().get_job_id()))
        actors = state.actor_table(None, job, "ALIVE")
        return sum(self.class_name in each["ActorClassName"] for each in actors.values())
