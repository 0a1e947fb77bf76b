"""The engine on Ray: actor pools of Ray Data label, worker groups of Ray Train teach, tasks fold.

Ray is connected when there is work (`session.require_ray`), and imported no sooner.
"""

from __future__ import annotations

from distill.engine.ray.fold import call_remotely, fold
from distill.engine.ray.map import map_fragments
from distill.engine.ray.train import require_training, train_workers


class RayEngine:
    """An `Engine` on the Ray that this process is connected to, or starts when it has work."""

    map = staticmethod(map_fragments)
    fold = staticmethod(fold)
    call = staticmethod(call_remotely)
    require = staticmethod(require_training)
    train = staticmethod(train_workers)
