"""Networks of the user's own in torch: made, asked for their width, and held against what training
and loading take for granted.

Other ranks, lanes, restarts and readers must have the very same network, so `require_trainable`
refuses, before any work, a module

- that two constructions under one seed make differently: ranks would start from other weights;
- that answers otherwise once another one's weights are loaded into it: something that it drew is
  neither parameter nor buffer;
- whose buffers move in training, such as BatchNorm's running statistics: each worker and each lane
  sees other rows and would keep other
  numbers, so that what is kept would depend on how many there were, against what `gradients =
  "lanes"` promises;
- with parameters that no answer depends on: data-parallel workers would wait for their gradients;
- that answers a row of zeros with what is no number, or has such gradients there: padded and
  rejected rows are zeros, and though their losses
  weigh 0, 0 · NaN is NaN.

Only what it is asked here can be seen: state that Python code keeps beside the tensors is the
user's own care.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill.core.errors import JobError
from distill.core.source import PythonFile, own_lines
from distill.spec.models import CustomModel

_ROWS = 2


def make_custom(model: CustomModel, in_features: int, source: PythonFile, where: str) -> nn.Module:
    """The user's module. `where` is its key, for messages. Raises JobError, with the user's own
    lines where it raises."""
    made = source.load(model.name, where)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise JobError(
            f"{where}: {model.name} in {source.path} is no torch.nn.Module. Derive the class"
            " from it."
        )
    given = seen_numbers(model, in_features)
    try:
        module: nn.Module = made(given, **model.options)
    except Exception as error:
        options = "".join(f", {key}={value!r}" for key, value in model.options.items())
        raise JobError(
            f"{where}: {model.name}({given}{options}) raises when it is made:\n{own_lines(error)}"
        ) from error
    return module


def custom_width(module: nn.Module, model: CustomModel, in_features: int, where: str) -> int:
    """H: what the module makes of two rows. Raises JobError where it is not (B, H)."""
    was = module.training
    answered = _asked(module.eval(), model, in_features, where)
    module.train(was)
    return answered.shape[1]


def require_trainable(
    make: Callable[[int], nn.Module], model: CustomModel, in_features: int, where: str
) -> None:
    """Refuse a module that others would not have alike; `make(seed)` makes one. Raises JobError."""
    first, again, other = make(0), make(0), make(1)
    mine, theirs = first.state_dict(), again.state_dict()
    _require_tensors(first, model, where)
    differ = [name for name in mine | theirs if not _same(mine.get(name), theirs.get(name))]
    if differ:
        raise JobError(
            f"{where}: two {model.name} made under one seed differ in {_clipped(differ)}. Draw by"
            " torch alone, which distill seeds."
        )
    if not _fits(mine, other) or not _same(
        *(_asked(each.eval(), model, in_features, where) for each in (first, other))
    ):
        raise JobError(
            f"{where}: a {model.name} with another one's weights answers otherwise, so it could not"
            " be loaded again. Keep what it draws as a parameter or a buffer, and let it draw"
            " nothing once it is in eval()."
        )
    _require_steady(again.train(), model, in_features, where)


def _require_tensors(module: nn.Module, model: CustomModel, where: str) -> None:
    odd = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
    odd += [name for name, value in module.named_parameters() if value.dtype != torch.float32]
    if odd:
        raise JobError(
            f"{where}: {_clipped(odd)} of {model.name} cannot be trained and kept: parameters are"
            " float32, and what a module keeps are tensors. `training.precision` says in which"
            " numbers it computes."
        )


def _fits(weights: dict[str, Tensor], module: nn.Module) -> bool:
    try:
        module.load_state_dict(weights)
    except RuntimeError:  # other names or shapes
        return False
    return True


def _require_steady(module: nn.Module, model: CustomModel, in_features: int, where: str) -> None:
    before = {name: value.clone() for name, value in module.named_buffers()}
    answered = _asked(module, model, in_features, where, learning=True)
    moved = [name for name, value in module.named_buffers() if not _same(value, before.get(name))]
    if moved:
        raise JobError(
            f"{where}: the buffers {_clipped(moved)} of {model.name} change in training, and every"
            " worker and lane would keep others. Use what sees one row alone, such as LayerNorm or"
            " GroupNorm."
        )
    learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
    found = (
        torch.autograd.grad(answered.sum(), list(learning.values()), allow_unused=True)
        if answered.requires_grad
        else ()
    )
    if not all(bool(each.isfinite().all()) for each in (answered, *found) if each is not None):
        raise JobError(
            f"{where}: {model.name} answers a row of zeros with what is no finite number, or has"
            " such gradients there. Padded and rejected rows are zeros, and one NaN among them"
            " ends the training: define it there, as by x / x.norm().clamp_min(1e-6)."
        )
    idle = [
        name
        for name, value in zip(learning, found or [None] * len(learning), strict=True)
        if value is None
    ]
    if idle:
        raise JobError(
            f"{where}: no answer of {model.name} depends on its parameters {_clipped(idle)}. Use"
            " them, leave them out, or freeze them (requires_grad = False)."
        )


def _asked(
    module: nn.Module, model: CustomModel, in_features: int, where: str, *, learning: bool = False
) -> Tensor:
    """What it answers two rows. Raises JobError where it raises, or where that is not (B, H) of
    floats."""
    rows = _some_rows(model, in_features)
    try:
        with torch.set_grad_enabled(learning):
            answered = module(rows)
    except Exception as error:
        raise JobError(
            f"{where}: {model.name} raises when it is asked about"
            f" {_said(rows)}:\n{own_lines(error)}"
        ) from error
    shape = answered.shape[:1] if isinstance(answered, Tensor) and answered.ndim == 2 else ()
    if shape != (_ROWS,) or answered.dtype != torch.float32:
        raise JobError(
            f"{where}: {model.name} answers {_said(rows)} with {_said(answered)}, where ({_ROWS},"
            " H) float32 is due: a row of H numbers for each."
        )
    right: Tensor = answered
    return right


def _some_rows(model: CustomModel, in_features: int) -> Tensor:
    """Rows as it will see them, one of them zeros, as padding is: of text, one without a word and
    one with the last place of the table throughout."""
    if model.text is not None:
        return torch.tensor([[0], [model.text.buckets]], dtype=torch.int32).expand(
            _ROWS, model.text.most
        )
    drawn = torch.randn(_ROWS, in_features, generator=torch.Generator().manual_seed(0))
    drawn[-1] = 0
    return drawn


def seen_numbers(model: CustomModel, in_features: int) -> int:
    """Numbers of a row as the module sees it: what it is made with."""
    return in_features if model.text is None else model.text.most


def _same(mine: Tensor | None, theirs: Tensor | None) -> bool:
    """To the last bit; NaN is NaN."""
    if mine is None or theirs is None or mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return False
    return bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())


def _said(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _clipped(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
