"""A structure that is easily checked, as a plugin beside the job: the mean and the deviation of
each column in two passes, and rows brought to these."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.labelers.structure.labeler import read_structure
from distill.plan.structure_identity import find_structure
from distill.plan.workspace import Workspace
from tests.tiny import tiny_job

CENTRE = """
from typing import Literal

import numpy as np

from distill.labelers.structure.base import FittedStructure, State, first_state
from distill.labelers.structure.groups import Groups
from distill.labelers.structure.kind import StructureKind
from distill.spec.structures import StructureOutput


class Centred(FittedStructure):
    def transform(self, values, gives):
        centred = (values - self.arrays["mean"]) / self.arrays["deviation"]
        shown = {"coordinates": centred, "cluster": centred.argmax(axis=1)[:, None]}
        shown["soft"] = centred
        return shown[gives].astype(np.float32)

    def groups(self):
        centres = np.diag(self.arrays["deviation"]) + self.arrays["mean"]
        return Groups(self, "cluster", centres, np.full(len(centres), 60))


class Centre(StructureKind):
    kind: Literal["centre"]
    revision: Literal["1"] = "1"
    columns: int
    least: int = 1

    gives = ("coordinates", "cluster", "soft")
    features = "coordinates"
    has_groups = True

    def output(self, gives):
        if gives == "cluster":
            return StructureOutput(1)
        names = tuple(map(str, range(self.columns))) if gives == "soft" else ()
        return StructureOutput(self.columns, names)

    def misfits(self, width, rows):
        if rows < self.least:
            yield f"least = {self.least}: there are {rows} rows. Add some."

    def fit(self, seed, where):
        return CentreFit()

    @classmethod
    def load(cls, arrays, plain):
        return Centred(arrays, plain)


class CentreFit:
    def begin(self, width, rows):
        return first_state("mean", {"mean": np.zeros(width)})

    def partial(self, state, values, row):
        away = values.astype(np.float64) - state.arrays["mean"]
        if state.phase == "deviation":
            away = away ** 2
        return {"sum": away.sum(axis=0), "rows": np.array(len(row))}

    def merge(self, first, second):
        return {name: first[name] + second[name] for name in first}

    def update(self, state, statistic):
        found = statistic["sum"] / statistic["rows"]
        measure = {"rows": int(statistic["rows"]), "largest": float(np.abs(found).max())}
        if state.phase == "mean":
            return state.after({"mean": found}, measure, phase="deviation")
        arrays = {"mean": state.arrays["mean"], "deviation": np.sqrt(found)}
        return state.after(arrays, measure, done=True)

    def finish(self, state):
        return Centred(state.arrays, {"kind": "centre", "details": {}})
"""

JOB = """
    root = "runs"
    plugins = ["centre.py"]
    fragment_rows = 64
    [pools.rows]
    path = "rows/"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [structure.centre]
    of = "pools.rows"
    model = {{ kind = "centre", columns = 4 }}
    {more}
"""

EMBEDDING = """
class Labeler:
    revision = "1"
    kind = "value"
    width = 4

    def label(self, features):
        seen = features[:, :1] + features
        seen[features[:, 0] > 1.5] = float("nan")
        return seen
"""
"""Numbers of `write_rows`'s rows; of some of them none."""


def write_rows(folder, shard_rows=(150, 90), *, spoilt=(3, 70)):
    """Shards of `pixels`, 4 numbers a row, NaN in the spoilt rows of the first; returns all."""
    folder.mkdir()
    shards = []
    for number, rows in enumerate(shard_rows):
        draw = np.random.default_rng(number)
        scale = np.arange(1, 5)
        values = (draw.normal(size=(rows, 4)) * scale + scale).astype(np.float32)
        if number == 0:
            values[list(spoilt), 1] = np.nan
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 4)
        file = folder / f"part-{number}.parquet"
        pq.write_table(pa.table({"pixels": column}), file, row_group_size=50)
        shards.append(values)
    return np.concatenate(shards)


@pytest.fixture
def structure_job(tmp_path):
    """Makes the job with more tables, its pool and its plugin written; gives it and all rows."""

    def make(more="", **how):
        (tmp_path / "centre.py").write_text(CENTRE, "utf-8")
        (tmp_path / "embedding.py").write_text(EMBEDDING, "utf-8")
        values = write_rows(tmp_path / "rows", **how)
        return tiny_job(tmp_path, JOB.format(more=more)), values

    return make


def arrays(job, name):
    """What is stored of a structure."""
    folder, record = find_structure(Workspace(job), name)
    return read_structure(folder, record).arrays


def sha256_of(job, name):
    """The digest of what is stored of a structure."""
    _, record = find_structure(Workspace(job), name)
    return record.sha256
