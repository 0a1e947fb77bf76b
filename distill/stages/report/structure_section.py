"""What the page says in words and numbers of a structure. The template only places it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from distill.core.results import Evaluation
from distill.core.structure_results import Cluster, ExampleRow, StructureResult
from distill.stages.report.card import Card
from distill.stages.report.drawing import Chart
from distill.stages.report.groups import clipped
from distill.stages.report.structures import draw_structure

_KINDS = {"pca": "principal components", "kmeans": "k-means clusters", "som": "self-organising map"}
# head and note of each measure, in the order of the page
_MEASURES = {
    "explained": ("Variance explained", "of the whole, by all components"),
    "silhouette": ("Silhouette", "from −1 to 1, higher is better; on drawn rows"),
    "davies_bouldin": ("Davies–Bouldin", "lower is better"),
    "inertia": ("Inertia a row", "mean squared distance to the nearest centre"),
    "quantization_error": ("Quantization error", "mean distance to the nearest unit"),
    "topographic_error": ("Topographic error", "rows whose two nearest units are no neighbours"),
}
_PERCENT = frozenset({"explained", "topographic_error"})
_MOST_CLASSES = 3
_NAME_CHARACTERS = 24


@dataclass(frozen=True)
class StructureSection:
    """One structure on the page."""

    result: StructureResult

    @property
    def lead(self) -> str:
        """What it is, and of what."""
        result = self.result
        text = f"{_KINDS.get(result.kind, result.kind)} of {result.of}, seen over {result.pool}: {result.rows:,} rows"
        text = text[0].upper() + text[1:]
        if result.left_out:
            text += f", {result.left_out:,} more could not be read"
        return f"{text}."

    @property
    def cards(self) -> list[Card]:
        """Its measures."""
        cards = []
        for measure, (head, note) in _MEASURES.items():
            if measure in self.result.measures:
                value = self.result.measures[measure]
                shown = f"{100 * value:.1f}%" if measure in _PERCENT else f"{value:.3g}"
                cards.append(Card(head, shown, note))
        if self.result.all_clusters:
            cards.append(
                Card(self.parts.capitalize(), f"{self.result.all_clusters:,}", self._sizes)
            )
        return cards

    @property
    def _sizes(self) -> str:
        sizes = [cluster.rows for cluster in self.result.clusters]
        return f"the largest has {max(sizes):,} rows" if sizes else ""

    @cached_property
    def charts(self) -> list[Chart]:
        """Its pictures."""
        return draw_structure(self.result)

    @property
    def part(self) -> str:
        """What one cluster is called."""
        return "Unit" if self.result.kind == "som" else "Cluster"

    @property
    def parts(self) -> str:
        """What its clusters are called."""
        part = self.part.lower()
        return f"{part}s"

    @property
    def shown(self) -> Sequence[Cluster]:
        """Clusters that have rows to look at."""
        return [cluster for cluster in self.result.clusters if cluster.nearest]

    @property
    def shown_note(self) -> str:
        """Which clusters are shown."""
        shown = len(self.shown)
        total = self.result.all_clusters
        which = f"The {shown} largest of {total:,}" if shown < total else f"All {total:,}"
        return f"{which} {self.parts}, each with the rows nearest to its centre."

    @staticmethod
    def classes_of(cluster: Cluster) -> str:
        """Return the most frequent classes of a cluster with their shares."""
        counts = cluster.classes.values()
        total = sum(counts)
        frequent = sorted(cluster.classes.items(), key=lambda each: -each[1])[:_MOST_CLASSES]
        names = [f"{clipped(name, _NAME_CHARACTERS)} {rows / total:.0%}" for name, rows in frequent]
        return ", ".join(names)

    @staticmethod
    def address(example: ExampleRow) -> str:
        """Return where a row lies."""
        return f"{example.shard}, row {example.row:,}"


def structure_sections(evaluation: Evaluation) -> list[StructureSection]:
    """Return one section a structure, in the order of the job."""
    return [StructureSection(result) for result in evaluation.structures]
