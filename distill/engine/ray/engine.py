"""The engine on Ray: actor pools of Ray Data label, worker groups of Ray Train teach, tasks fold.

Ray is connected when there is work (`session.require_ray`), and imported no sooner.
"""

from __future__ import annotations

from distill.core.plugins import loaded_plugins
from distill.engine.local import LocalEngine
from distill.engine.protocol import Engine
from distill.engine.ray.fold import call_remotely, fold
from distill.engine.ray.map import map_fragments
from distill.engine.ray.session import starts_its_own
from distill.engine.ray.train import require_training, train_workers


class RayEngine:
    """An `Engine` on the Ray that this process is connected to, or starts when it has work."""

    map = staticmethod(map_fragments)
    fold = staticmethod(fold)
    call = staticmethod(call_remotely)
    require = staticmethod(require_training)
    train = staticmethod(train_workers)

    def for_short_work(self) -> Engine:
        """Return the driver's own process, where Ray is this machine's alone: on two cores a group
        of workers takes 9 to 12 s to start, and a task that loads torch 3 s."""
        # who joins a cluster means its machines; a plugin's classes are the user's code
        return LocalEngine() if starts_its_own() and not loaded_plugins() else self
