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

import torch
from torch import Tensor, nn

from distill.engine.protocol import WorkerContext
from distill.stages.train.row_means import row_means
from distill.stages.train.row_rules import RowRule
from distill.stages.train.team import in_order, union_over_team

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
        is_place_BL = places_BL != 0
        counts_B = is_place_BL.sum(1, dtype=torch.int32)
        places_N = _where(places_BL, is_place_BL)
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
        self._parts = weights.new_zeros(len(weights), 1 + len(rule.names), weights.shape[1])
        self.settled, *moments = self._parts.unbind(1)
        self.settled.copy_(weights)
        self.moments = dict(zip(rule.names, moments, strict=True))
        device = weights.device
        # steps taken when each row was settled
        self.last = torch.zeros(len(weights), dtype=torch.int32, device=device)
        # of the rows that were taken last, (U, H); it has their gradient
        self.weight = torch.empty(0, device=device)
        self._rows = torch.empty(0, dtype=torch.int64, device=device)
        self._row_moments: list[Tensor] = []
        # where the rows of a step and their moments are, (1 + moments, U, H)
        self._space = self._parts[:0].transpose(0, 1)
        # where each place that was taken stands among the rows; others are never asked for
        self._numbers = torch.zeros_like(self.last)
        self._checked = 0

    def take(self, places: Sequence[Tensor], context: WorkerContext) -> None:
        """Make ready the rows of these places, of all workers, for one step."""
        joined = torch.cat([_where(each, each != 0) for each in places])
        rows = union_over_team(_distinct(joined), context)
        count = len(rows)
        numbers = torch.arange(count, dtype=torch.int32, device=rows.device)
        _put(self._numbers, rows, numbers)
        if self._space.shape[1] < count:
            # kept from step to step: fresh memory is zeroed by the kernel, page by page
            parts, _, width = self._space.shape
            self._space = self._parts.new_empty(parts, count + count // 4, width)
        self._rows = rows.long()
        weights, self._row_moments = self.read(self._rows, self._space[:, :count])
        self.weight = weights.requires_grad_()

    def move(self) -> None:
        """Take the step with the gradient that the rows have by now."""
        gradient = self.weight.grad
        if gradient is None:
            gradient = torch.zeros_like(self.weight)
        weights = self.weight.detach()
        step = self.step
        self.step += 1
        for block in _blocks(len(weights)):
            moments = [moment[block] for moment in self._row_moments]
            moved = weights[block]
            self.rule.move(step, moved, gradient[block], moments)
            settled = self.rule.settle(self.step, moved, moments)
            rows = self._rows[block]
            # one write a row: a row beside its moments is one run of memory
            _put(self._parts, rows, torch.stack([settled, *moments], dim=1))
        _put(self.last, self._rows, torch.full_like(self._rows, self.step, dtype=torch.int32))

    def of_step(self, places_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the step under way, and where these places stand among them."""
        return self.weight, self._numbers.index_select(0, places_N)

    def of_any(self, places_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of any places as they are by now, and where these stand among them."""
        distinct = _distinct(places_N)
        weights, _ = self.read(distinct.long())
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

    def read(self, rows: Tensor, space: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return weights and moments of some rows as they are by now; in `space`, (1 + moments, U,
        H), where it is given."""
        if space is None:
            parts, _, width = self._space.shape
            space = self._parts.new_empty(parts, len(rows), width)
        weights, *all_moments = space.unbind(0)
        for block in _blocks(len(rows)):
            chosen = rows[block]
            settled = weights[block]
            moments = [moment[block] for moment in all_moments]
            # index_select and `_put`: brackets take three to six times as long on a CPU
            for part, table in zip([settled, *moments], self._parts.unbind(1), strict=True):
                torch.index_select(table, 0, chosen, out=part)
            last = self.last.index_select(0, chosen)
            settled.copy_(self.rule.read(self.step, last, settled, moments))
        return weights, all_moments


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


def _blocks(rows: int) -> list[slice]:
    """Runs of rows that are gone through one after another."""
    return [slice(start, start + _BLOCK_ROWS) for start in range(0, rows, _BLOCK_ROWS)]


def _distinct(places: Tensor) -> Tensor:
    """The distinct places (N,) in order, and place 0 first."""
    return in_order(torch.cat([places.new_zeros(1), places]))


def _where(places: Tensor, is_chosen: Tensor) -> Tensor:
    """The chosen places, (N,)."""
    if places.device.type != "cpu":
        return places[is_chosen]
    return torch.from_numpy(places.numpy()[is_chosen.numpy()])


def _put(table: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write distinct rows of a table."""
    if table.device.type == "cpu":
        table.numpy()[rows.numpy()] = values.numpy()
    else:
        table.index_copy_(0, rows, values)
