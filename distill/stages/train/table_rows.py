"""Tables of which a step moves only the rows that its texts have: its cost does not grow with the
table.

    take     the places of all workers' texts → the rows' weights as they are by now, (U, H), a
             parameter of this step alone
    …        forward and backward passes, whose gradient is (U, H) too; it is summed over lanes and
             workers as every other gradient
    move     the rows take their step (`row_rules`) and are written back

All workers of a step take the same rows, in the order of their places, so that gradients are summed
row by row, and weights are bit-equal wherever others are. What a table holds between steps are
*settled* rows; `weights` makes the plain table of them, and checkpoints hold them as they lie, with
the step of each, so that when a checkpoint is kept moves no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.engine.protocol import WorkerContext
from distill.stages.train.row_means import row_means
from distill.stages.train.row_rules import RowRule
from distill.stages.train.team import Union, in_order

_RUN_ROWS = 65_536  # rows that are brought up to date at once, where all are
# rows that are computed at once: what is between them then stays in a core's own cache
_BLOCK_ROWS = 1_024
# numbers of a table up to which all of it is moved in each step, as any other parameter: 16,384
# rows of 64. The looking after rows costs a step more there than it saves: 1.5 times a step of 32
# texts with 4,096 rows, and 0.7 with 65,536.
SMALL_NUMBERS = 1 << 20
_LAST = "last"


class RowTable(nn.Module):
    """Stands for a bag while its rows are trained: (B, L) int32 places → (B, H), the means of the
    table's rows there. Place 0 is padding."""

    def __init__(self, bag: nn.EmbeddingBag, rule: RowRule) -> None:
        super().__init__()
        self.rows = TableRows(bag.weight.detach(), rule)
        # under the bag's own name; it holds settled rows, and asks for no gradient
        self.weight = nn.Parameter(self.rows.settled, requires_grad=False)

    def forward(self, places_BL: Tensor) -> Tensor:
        places_N, counts_B = self.rows.ngrams(places_BL)
        if self.training:
            rows_UH, numbers_N = self.rows.of_step(places_N)
        else:
            rows_UH, numbers_N = self.rows.of_any(places_N)
        return row_means(rows_UH, numbers_N, counts_B)


class TableRows:
    """The rows of one table while it is trained."""

    def __init__(self, weights: Tensor, rule: RowRule) -> None:
        self.rule = rule
        self.step = 0  # steps taken
        # a row beside its moments: what a step reads and writes of it is then one run of memory
        self._parts = _zeros(weights, len(weights), 1 + len(rule.names), weights.shape[1])
        parts = self._parts.unbind(1)
        self.settled, *moments = parts
        self.settled.copy_(weights)
        self.moments = dict(zip(rule.names, moments, strict=True))
        device = weights.device
        self._runs = [_runs(each) for each in parts] if device.type == "cpu" else []
        # steps taken when each row was settled
        self.last = torch.zeros(len(weights), dtype=torch.int32, device=device)
        # of the rows that were taken last, (U, H); it has their gradient
        self.weight = torch.empty(0, device=device)
        self._rows = torch.empty(0, dtype=torch.int64, device=device)
        # their weights and moments, (1 + moments, U, H)
        self._taken = torch.empty(0, device=device)
        self._union: Union | None = None
        self._known: tuple[Tensor, Tensor, Tensor] | None = None
        # where each place that was taken stands among the rows; others are never asked for
        self._numbers = torch.zeros_like(self.last)
        self._checked = 0

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse copies: they would have a parameter apart from the rows that steps move."""
        raise TypeError("a table that is trained row by row has no copies: copy its `weights()`")

    def take(self, places: Sequence[Tensor], context: WorkerContext) -> None:
        """Make ready the rows of these places, of all workers, for one step."""
        if self._union is None:
            self._union = Union(context)
        ngrams = [_ngrams(each) for each in places]
        # the forward pass often takes the same
        self._known = places[-1], *ngrams[-1]
        rows = self._union(_distinct(*(each for each, _ in ngrams))).long()
        numbers = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
        self._numbers.index_copy_(0, rows, numbers)
        self._rows = rows
        self._taken = self.read(rows)
        self.weight = self._taken[0].requires_grad_()

    def move(self) -> None:
        """Take the step with the gradient that the rows have by now."""
        gradient = self.weight.grad
        if gradient is None:
            gradient = torch.zeros_like(self.weight)
        step = self.step
        self.step += 1
        gradients = _blocks(gradient)
        rows = _blocks(self._rows)
        for block, own, numbers in zip(_blocks(self._taken, 1), gradients, rows, strict=True):
            weights, *moments = block
            self.rule.move(step, weights, own, moments)
            self.rule.settle(self.step, weights, moments)
            self._write(numbers, block)
        self.last.index_fill_(0, self._rows, self.step)

    def of_step(self, places_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the step under way, and where these places stand among them."""
        return self.weight, self._numbers.index_select(0, places_N)

    def of_any(self, places_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of any places as they are by now, and where these stand among them."""
        distinct = _distinct(places_N)
        weights = self.read(distinct.long())[0]
        return weights, torch.searchsorted(distinct, places_N).int()

    def weights(self) -> Tensor:
        """Return the plain table as it is by now."""
        rows = torch.arange(len(self.settled), device=self.settled.device)
        # in runs: the moments of all rows would be copied at once
        blocks = torch.split(rows, _RUN_ROWS)
        return torch.cat([self.read(block)[0] for block in blocks])

    def moved(self) -> Tensor:
        """Return the settled rows that moved since this was last asked for."""
        rows = (self.last > self._checked).nonzero()[:, 0]
        self._checked = self.step
        return self.settled[rows]

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds beside the settled rows."""
        return {**self.moments, _LAST: self.last}

    def load(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Go on after so many steps; the table's parameter has its checkpoint's rows already."""
        self.step = step
        self._checked = step
        for name, moment in self.moments.items():
            if name in state:
                moment.copy_(state[name])
        if _LAST in state:
            self.last.copy_(state[_LAST])
            return
        # of an older distill, whose checkpoints hold plain tables
        self.last.fill_(step)
        moments = list(self.moments.values())
        self.rule.settle(step, self.settled, moments)

    def ngrams(self, places_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places that are no padding, (N,), and how many each text has, (B,)."""
        # once: a buffer may have other texts by the next time
        known, self._known = self._known, None
        if known is not None and known[0] is places_BL:
            return known[1:]
        return _ngrams(places_BL)

    def read(self, rows: Tensor) -> Tensor:
        """Return weights and moments (1 + moments, U, H) of some rows as they are by now."""
        last = self.last.index_select(0, rows)
        found = _multiplied_rows(self._parts, rows, self.rule.factors(self.step, last))
        for settled, *moments in _blocks(found, 1):
            self.rule.rise(self.step, settled, moments)
        return found

    def _write(self, rows: Tensor, values: Tensor) -> None:
        """Keep settled rows and their moments, (1 + moments, U, H)."""
        if values.device.type != "cpu":
            self._parts.index_copy_(0, rows, values.transpose(0, 1))
            return
        numbers = rows.numpy()
        for kept, written in zip(self._runs, _runs(values), strict=True):
            kept[numbers] = written


def put_tables(network: nn.Module, make_rule: Callable[[str], RowRule]) -> None:
    """Let the bags of a network that read places be moved row by row, but small ones;
    `make_rule(name)` makes the rule of a parameter."""
    for prefix, parent in list(network.named_modules()):
        for name, bag in list(parent.named_children()):
            reads_places = getattr(bag, "reads_places", False) and bag.weight.requires_grad
            if reads_places and bag.weight.numel() > SMALL_NUMBERS:
                key = f"{prefix}.{name}.weight".removeprefix(".")
                setattr(parent, name, RowTable(bag, make_rule(key)))


def whole_state(
    weight: Tensor, rule: RowRule, step: int, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the state of torch's optimiser for a table that is moved whole from `step` on and was
    moved by rows before; `state` is what `TableRows.state` said, and `weight` has the settled rows
    and is brought to what they are by now, in place."""
    detached = weight.detach()
    rows = TableRows(detached, rule)
    rows.load(step, state)
    every = torch.arange(len(weight), device=weight.device)
    weights, *moments = rows.read(every)
    weight.detach().copy_(weights)
    return {"step": torch.tensor(float(step)), **dict(zip(rule.names, moments, strict=True))}


def is_of_rows(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a parameter's state is of a table that was moved by rows."""
    return _LAST in state


def find_tables(network: nn.Module) -> dict[str, TableRows]:
    """Return the tables of a network that are moved row by row, by their parameters' names."""
    return {
        f"{name}.weight".removeprefix("."): module.rows
        for name, module in network.named_modules()
        if isinstance(module, RowTable)
    }


def _blocks(values: Tensor, axis: int = 0) -> Sequence[Tensor]:
    """Runs of rows that are gone through one after another."""
    rows = values.shape[axis]
    # near-equal: a few rows cost as many calls as all of a block
    blocks = max(1, rows // _BLOCK_ROWS)
    return torch.tensor_split(values, blocks, axis)


def _ngrams(places_BL: Tensor) -> tuple[Tensor, Tensor]:
    """See `TableRows.ngrams`."""
    is_place_BL = places_BL != 0
    counts_B = is_place_BL.sum(1, dtype=torch.int32)
    return _where(places_BL, is_place_BL), counts_B


def _distinct(*places: Tensor) -> Tensor:
    """The distinct ones of places (N,), in order, and place 0 first."""
    return in_order(torch.cat([places[0].new_zeros(1), *places]))


def _where(places: Tensor, is_chosen: Tensor) -> Tensor:
    """The chosen places, (N,)."""
    if places.device.type != "cpu":
        return places[is_chosen]
    return torch.from_numpy(places.numpy()[is_chosen.numpy()])


def _multiplied_rows(table: Tensor, rows: Tensor, factors: Tensor) -> Tensor:
    """Rows of a table (N, P, H) as (P, U, H), each part times its factor, (P, U)."""
    parts, width = table.shape[1:]
    numbers = torch.arange(parts, device=rows.device)[:, None] + rows * parts
    each = torch.arange(numbers.numel(), device=rows.device)
    # bags of one row: it fetches rows ahead, and multiplies as it copies. Of 10,000 rows and their
    # moments that takes 1.1 ms where index_select and two products take 1.8
    found = functional.embedding_bag(
        numbers.view(-1),
        table.view(-1, width),
        each,
        mode="sum",
        per_sample_weights=factors.to(table.dtype).view(-1),
    )
    return found.view(parts, -1, width)


def _zeros(like: Tensor, *shape: int) -> Tensor:
    """Zeros of that shape."""
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    # numpy asks for huge pages, torch does not: rows lie anywhere in a table, and each one's page is
    # then looked up in memory. 10,000 rows of a million are written in 1.6 ms, and in 2.4 without
    return torch.from_numpy(np.zeros(shape, like.numpy().dtype))


def _runs(values: Tensor) -> npt.NDArray[np.void]:
    """The last axis as one run of bytes: numpy copies it in half the time that it needs for its
    numbers."""
    run_bytes = values.shape[-1] * values.element_size()
    return values.numpy().view(f"V{run_bytes}")[..., 0]
