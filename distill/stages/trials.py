"""Short trials for `distill plan`: some training steps and answers of each network, on random
numbers, or the tokens of some texts, and one CPU thread, and some reading of each pool. What cannot
be tried has no trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distill.core.source import user_errors
from distill.loader.dataset import Dataset
from distill.models.text_tokens import padded
from distill.plan.costs.trials import NetworkTrial, Tried

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.network import MultiHead

log = logging.getLogger(__name__)

_ROUNDS = 5
_ANSWERED_ROWS = 256
_READ_ROWS = 4_096
_MOST_SECONDS = 20.0  # of one network: a large one has fewer rounds


@dataclass(frozen=True)
class Trials:
    """`trials()` → what was tried, on the machine where it is called."""

    networks: Sequence[NetworkTrial]
    reading: Sequence[tuple[str, Dataset]]

    def __call__(self) -> Tried:
        found = {trial.key: _try_network(trial) for trial in self.networks}
        networks = {key: each for key, each in found.items() if each is not None}
        return Tried(
            steps={key: each.steps for key, each in networks.items()},
            rows={key: each.rows for key, each in networks.items()},
            parameters={key: each.parameters for key, each in networks.items()},
            reading={pool: _try_reading(dataset) for pool, dataset in self.reading},
        )


class _TriedNetwork(NamedTuple):
    steps: list[float]  # seconds of each
    rows: list[float]  # seconds a row of each round of answers
    parameters: int


def _try_network(trial: NetworkTrial) -> _TriedNetwork | None:
    """What was tried of one network; None where it cannot be."""
    import torch

    from distill.models.network import build_network, parameter_count

    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            network = build_network(trial.plan)
            step = _step(network, trial)
            steps = _rounds(step)
            few = _inputs(network, trial, _ANSWERED_ROWS)
            network.eval()
            with torch.inference_mode():
                answers = _rounds(lambda: network(few))
    except user_errors() as error:
        log.info("%s is not tried: %s", trial.key, error)
        return None
    rows = [each / _ANSWERED_ROWS for each in answers]
    return _TriedNetwork(steps, rows, parameter_count(network))


def _step(network: MultiHead, trial: NetworkTrial) -> Callable[[], None]:
    """One training step on rows that are always the same."""
    import torch

    weights = [each for each in network.parameters() if each.requires_grad]
    optimizer: Any = torch.optim.SGD(weights, lr=0.0)
    if trial.optimizer != "sgd":
        optimizer = torch.optim.AdamW(weights, lr=0.0)
    rows = _inputs(network, trial, trial.batch_rows)

    def step() -> None:
        optimizer.zero_grad()
        answers = network(rows)
        losses = [answer.float().logsumexp(dim=1).mean() for answer in answers.values()]
        loss: Any = torch.stack(losses).sum()
        loss.backward()
        optimizer.step()

    return step


def _inputs(network: MultiHead, trial: NetworkTrial, rows: int) -> Tensor:
    """Random rows as the network sees them."""
    # where it reads tokens, those of the pool's texts
    import torch

    if network.tokens is not None:
        texts = list(islice(cycle(trial.texts), rows))
        return torch.from_numpy(padded(network.tokens.encode(texts)))
    draw = np.random.default_rng(0)
    ngrams = trial.plan.model.text_hashing
    if ngrams is not None:
        places = draw.integers(1, ngrams.buckets + 1, size=(rows, ngrams.most))
        return torch.from_numpy(places.astype(np.int32))
    numbers = draw.random((rows, trial.plan.in_features), np.float32)
    return torch.from_numpy(numbers)


def _rounds(work: Callable[[], object]) -> list[float]:
    """Seconds of some rounds, but of the first, which warms up, and of the slowest."""
    work()
    began = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) <= _ROUNDS:
        round_began = time.perf_counter()
        work()
        ended = time.perf_counter()
        seconds.append(ended - round_began)
        if ended - began > _MOST_SECONDS:
            break
    # in one of them the machine may have had something else to do
    return sorted(seconds)[: max(1, len(seconds) - 1)]


def _try_reading(dataset: Dataset) -> list[float]:
    """Seconds a row of reading some chunks, spread over the pool."""
    chunks = dataset.chunks(_READ_ROWS)
    stride = max(1, len(chunks) // _ROUNDS)
    seconds = []
    for chunk in chunks[::stride][:_ROUNDS]:
        began = time.perf_counter()
        dataset.seen(chunk)
        seconds.append((time.perf_counter() - began) / chunk.rows)
    return seconds
