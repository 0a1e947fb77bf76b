"""Modules that distill's own tests do not know, held before any work against what training and
loading take for granted: other ranks, lanes, restarts and readers must have the very same network.

Only what a call shows can be seen: state that Python code keeps beside the tensors is the user's
own care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distill.core.errors import JobError
from distill.core.source import own_lines, user_errors
from distill.spec.networks import BuiltNetwork, Network, NetworkInput

_ROWS = 2


def answer_width(module: nn.Module, model: Network, given: NetworkInput) -> int:
    """Return H: the width of what the module makes of two rows. Raises JobError where that is not
    (B, H)."""
    was_training = module.training
    answer = _Trial(model, given).answer(module.eval())
    module.train(was_training)
    return answer.shape[1]


def require_trainable(
    build: Callable[[int], BuiltNetwork],
    model: Network,
    given: NetworkInput,
    *,
    batch_norm: bool = False,
) -> None:
    """Refuse a module that others would not have alike; `build(seed)` makes one. With `batch_norm`
    the statistics of its BatchNorm layers may move. Raises JobError."""
    trial = _Trial(model, given)
    first, width = build(0)
    again = build(0).module
    other = build(1).module
    trial.require_tensors(first)
    # else ranks would start from other weights
    trial.require_same_weights(first, again)
    # else something that it draws is neither parameter nor buffer
    trial.require_loadable(first, other)
    learning = again.train()
    trial.require_steady(learning, width, batch_norm=batch_norm)


def require_used_parameters(module: nn.Module, model: Network, given: NetworkInput) -> None:
    """Refuse a module with parameters to learn on which no answer depends. Raises JobError."""
    trial = _Trial(model, given)
    answer = trial.answer(module.train(), learning=True)
    trial.require_used(module, answer)


class _Trial:
    """What is asked of one network's modules."""

    def __init__(self, model: Network, given: NetworkInput) -> None:
        self.where = given.key
        self.name = str(getattr(model, "name", type(model).__name__))
        self.rows = _some_rows(model, given)

    def answer(self, module: nn.Module, *, learning: bool = False) -> Tensor:
        """Return what the module makes of the rows, (2, H). Raises JobError where it raises, or
        where that is something else."""
        try:
            with torch.set_grad_enabled(learning):
                answer = module(self.rows)
        except user_errors() as error:
            raise JobError(
                f"{self.where}: {self.name} raises when it is asked about"
                f" {_described(self.rows)}:\n{own_lines(error)}"
            ) from error
        is_matrix = isinstance(answer, Tensor) and answer.ndim == 2
        # another dtype would pass here, and fail at the heads' float32 weights
        if not is_matrix or len(answer) != _ROWS or answer.dtype != torch.float32:
            raise JobError(
                f"{self.where}: {self.name} answers {_described(self.rows)} with"
                f" {_described(answer)}, where ({_ROWS}, H) float32 is due: a row of H numbers for"
                " each."
            )
        checked: Tensor = answer
        return checked

    def require_tensors(self, module: nn.Module) -> None:
        """Refuse state that safetensors cannot keep, and parameters of another precision."""
        odd = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
        odd += [name for name, value in module.named_parameters() if value.dtype != torch.float32]
        if odd:
            raise JobError(
                f"{self.where}: {clipped(odd)} of {self.name} cannot be trained and kept:"
                " parameters are float32, and what a module keeps are tensors."
                " `training.precision` says in which numbers it computes."
            )

    def require_same_weights(self, first: nn.Module, again: nn.Module) -> None:
        """Refuse modules of one seed that differ."""
        mine = first.state_dict()
        theirs = again.state_dict()
        differ = [name for name in mine | theirs if not _same(mine.get(name), theirs.get(name))]
        if differ:
            raise JobError(
                f"{self.where}: two {self.name} made under one seed differ in {clipped(differ)}."
                " Draw by torch alone, which distill seeds."
            )

    def require_loadable(self, first: nn.Module, other: nn.Module) -> None:
        """Refuse a module that is not the first once it has the first's weights."""
        if not _takes(other, first.state_dict()) or not _same(
            self.answer(first.eval()), self.answer(other.eval())
        ):
            raise JobError(
                f"{self.where}: a {self.name} with another one's weights answers otherwise, so it"
                " could not be loaded again. Keep what it draws as a parameter or a buffer, and"
                " let it draw nothing once it is in eval()."
            )

    def require_steady(self, module: nn.Module, width: int, *, batch_norm: bool) -> None:
        """Refuse a module that a step of training would break."""
        before = {name: value.clone() for name, value in module.named_buffers()}
        answer = self.answer(module, learning=True)
        if answer.shape[1] != width:
            raise JobError(
                f"{self.where}: {self.name} answers with rows of {answer.shape[1]} numbers, where"
                f" its class says {width}. Correct what `build` returns."
            )
        # each lane and worker sees other rows, and what is kept would depend on how many there are
        moved = [
            name for name, value in module.named_buffers() if not _same(value, before.get(name))
        ]
        statistics = _statistics(module)
        if batch_norm:
            moved = [name for name in moved if name not in statistics]
        self._require_still(moved, are_statistics=statistics.issuperset(moved))
        gradients = _gradients(answer, list(_learned(module).values()))
        # padded and rejected rows are zeros: their losses weigh 0, but 0 · NaN is NaN
        self._require_finite([answer, *gradients])
        self._require_gradients(module, gradients)

    def require_used(self, module: nn.Module, answer: Tensor) -> None:
        """Refuse parameters to learn on which no answer depends."""
        gradients = _gradients(answer, list(_learned(module).values()))
        self._require_gradients(module, gradients)

    def _require_gradients(self, module: nn.Module, gradients: Sequence[Tensor | None]) -> None:
        # data-parallel workers would wait for the gradients of what no answer depends on
        pairs = zip(_learned(module), gradients, strict=True)
        self._require_used(name for name, gradient in pairs if gradient is None)

    def _require_still(self, names: list[str], *, are_statistics: bool) -> None:
        if not names:
            return
        way_out = ""
        if are_statistics:
            way_out = (
                ', or say how its statistics are kept: training = { batch_norm = "sync" }, over all'
                ' workers\' rows, or "frozen"'
            )
        raise JobError(
            f"{self.where}: the buffers {clipped(names)} of {self.name} change in training,"
            " and every worker and lane would keep others. Use what sees one row alone, such"
            f" as LayerNorm or GroupNorm{way_out}."
        )

    def _require_finite(self, numbers: Sequence[Tensor | None]) -> None:
        if not all(bool(each.isfinite().all()) for each in numbers if each is not None):
            raise JobError(
                f"{self.where}: {self.name} answers a row of zeros with what is no finite number,"
                " or has such gradients there. Padded and rejected rows are zeros, and one NaN"
                " among them ends the training: define it there, as by"
                " x / x.norm().clamp_min(1e-6)."
            )

    def _require_used(self, idle: Iterable[str]) -> None:
        names = list(idle)
        if names:
            raise JobError(
                f"{self.where}: no answer of {self.name} depends on its parameters"
                f" {clipped(names)}. Use them, leave them out, or freeze them (requires_grad ="
                " False)."
            )


def _some_rows(model: Network, given: NetworkInput) -> Tensor:
    """Rows as it will see them, one of them zeros, as padding is: of text, one without a word and
    one with the last place of the table throughout."""
    if model.text_tokens is not None:
        return torch.tensor([[1, 2, 3], [1, -1, -1]], dtype=torch.int32)
    hashing = model.text_hashing
    if hashing is not None:
        places = torch.tensor([[0], [hashing.buckets]], dtype=torch.int32)
        return places.expand(_ROWS, hashing.most)
    # of a generator of its own: the global one's draws are the weights'
    drawn = torch.randn(_ROWS, given.in_features, generator=torch.Generator().manual_seed(0))
    drawn[-1] = 0
    return drawn


def _statistics(module: nn.Module) -> set[str]:
    """The names of what BatchNorm layers keep of the rows that they see."""
    return {
        f"{name}.{buffer}".removeprefix(".")
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm)
        for buffer, _ in layer.named_buffers(recurse=False)
    }


def _learned(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def _takes(module: nn.Module, weights: dict[str, Tensor]) -> bool:
    """Load the weights, unless their names or shapes are others."""
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        return False
    return True


def _gradients(answer: Tensor, learned: list[Tensor]) -> Sequence[Tensor | None]:
    """Of each parameter; None where no answer depends on it."""
    if not answer.requires_grad:
        return [None] * len(learned)
    return torch.autograd.grad(answer.sum(), learned, allow_unused=True)


def _same(mine: Tensor | None, theirs: Tensor | None) -> bool:
    """To the last bit; NaN is NaN."""
    if mine is None or theirs is None or mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return False
    return bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def clipped(names: list[str]) -> str:
    """Say names, the first of many."""
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
