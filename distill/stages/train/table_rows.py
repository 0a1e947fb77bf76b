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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.engine.protocol import WorkerContext
from distill.stages.train.row_rules import RowRule
from distill.stages.train.team import union_over_team

_BLOCK_ROWS = 65_536  # rows that are brought up to date at once, where all are
# numbers of a table up to which all of it is moved in each step, as any other parameter: 16,384
# rows of 64. The looking after rows costs a step more there than it saves: 1.5 times a step of 32
# texts with 4,096 rows, and 0.7 with 65,536.
SMALL_NUMBERS = 1 << 20
_MARKED = 16  # rows of a table for each place of a step, up to which the places are marked in it
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
        places_BL = _without_padding(places_BL)
        if self.training:
            rows_UH, numbers_BL = self.rows.of_step(places_BL)
        else:
            rows_UH, numbers_BL = self.rows.of_any(places_BL)
        return functional.embedding_bag(numbers_BL, rows_UH, mode="mean", padding_idx=0)


class TableRows:
    """The rows of one table while it is trained."""

    def __init__(self, weights: Tensor, rule: RowRule) -> None:
        self.rule = rule
        self.step = 0  # steps taken
        # a row beside its moments: what a step reads and writes of it is then in one page of memory
        parts = weights.new_zeros(len(weights), 1 + len(rule.names), weights.shape[1])
        self.settled, *moments = parts.unbind(1)
        self.settled.copy_(weights)
        self.moments = dict(zip(rule.names, moments, strict=True))
        device = weights.device
        # steps taken when each row was settled
        self.last = torch.zeros(len(weights), dtype=torch.int32, device=device)
        # of the rows that were taken last, (U, H); it has their gradient
        self.weight = torch.empty(0, device=device)
        self._rows = torch.empty(0, dtype=torch.int64, device=device)
        self._row_moments: list[Tensor] = []
        # where each place that was taken stands among the rows; others are never asked for
        self._numbers = torch.zeros_like(self.last)
        self._checked = 0

    def take(self, places: Sequence[Tensor], context: WorkerContext) -> None:
        """Make ready the rows of these places, of all workers, for one step."""
        joined = torch.cat([each.flatten() for each in places])
        count = len(self.settled)
        distinct = _distinct(joined, count)
        rows = union_over_team(distinct, context).long()
        _put(self._numbers, rows, torch.arange(len(rows), dtype=torch.int32, device=rows.device))
        weights, self._row_moments = self.read(rows)
        self._rows = rows
        self.weight = weights.requires_grad_()

    def move(self) -> None:
        """Take the step with the gradient that the rows have by now."""
        gradient = self.weight.grad
        if gradient is None:
            gradient = torch.zeros_like(self.weight)
        weights = self.weight.detach()
        self.rule.move(self.step, weights, gradient, self._row_moments)
        self.step += 1
        _put(self.settled, self._rows, self.rule.settle(self.step, weights, self._row_moments))
        for moment, moved in zip(self.moments.values(), self._row_moments, strict=True):
            _put(moment, self._rows, moved)
        _put(self.last, self._rows, torch.full_like(self._rows, self.step, dtype=torch.int32))

    def of_step(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the step under way, and where these places stand among them."""
        numbers = self._numbers.index_select(0, places.flatten())
        return self.weight, numbers.view_as(places)

    def of_any(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of any places as they are by now, and where these stand among them."""
        distinct = _distinct(places.flatten(), len(self.settled))
        weights, _ = self.read(distinct.long())
        return weights, torch.searchsorted(distinct, places)

    def weights(self) -> Tensor:
        """Return the plain table as it is by now."""
        rows = torch.arange(len(self.settled), device=self.settled.device)
        # in blocks: the moments of all rows would be copied at once
        blocks = torch.split(rows, _BLOCK_ROWS)
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

    def read(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return weights and moments of some rows as they are by now."""
        # index_select and `_put`: brackets take three to six times as long on a CPU
        moments = [moment.index_select(0, rows) for moment in self.moments.values()]
        settled = self.settled.index_select(0, rows)
        last = self.last.index_select(0, rows)
        return self.rule.read(self.step, last, settled, moments), moments


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
    weights, moments = rows.read(every)
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


def _distinct(places: Tensor, table_rows: int) -> Tensor:
    """The distinct places (N,) of a table in order, and place 0 first."""
    if places.device.type == "cpu" and table_rows <= _MARKED * len(places):
        # no sort where the table is not much larger than the step's texts: 65,536 places of as many
        # rows take 0.2 ms, and sorted 0.8
        is_there = np.zeros(table_rows, np.bool_)
        is_there[0] = True
        numbers = places.numpy()
        is_there[numbers] = True
        return torch.from_numpy(np.flatnonzero(is_there).astype(np.int32))
    with_padding = torch.cat([places.new_zeros(1), places])
    if places.device.type != "cpu":
        distinct: Tensor = torch.unique(with_padding)
        return distinct
    # a fifth of the time that torch.unique or np.unique take
    ordered = np.sort(with_padding.numpy())
    is_new = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    found = ordered[is_new]
    return torch.from_numpy(found)


def _put(table: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write distinct rows of a table."""
    if table.device.type == "cpu":
        table.numpy()[rows.numpy()] = values.numpy()
    else:
        table.index_copy_(0, rows, values)


def _without_padding(places_BL: Tensor) -> Tensor:
    """The places up to the longest text's end."""
    used = int((places_BL != 0).any(dim=0).sum())
    return places_BL[:, : max(1, used)].contiguous()
