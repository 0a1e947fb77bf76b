"""What is said of what came out: a line each, for the terminal and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from distill.core.cascades import CascadeResult
from distill.models.record import Trained

if TYPE_CHECKING:
    from distill.stages.label.label_pool import LabelSummary
    from distill.stages.select.select_rows import Selected


def trained_line(trained: Trained) -> str:
    """Say one finished model in a line; rows that one of its terms does not know (rejected ones)
    are told."""
    details = trained.record.details
    when = "trained now" if trained.now else "done before"
    line = f"{trained.name}: {trained.record.parameters:,} parameters, {when}"
    if details.get("best_epoch"):
        line += f", stopped after epoch {details['epochs']}, epoch {details['best_epoch']} is kept"
    if details.get("left_out"):
        line += f", {details['left_out']:,} unusable rows left out"
    line += _tokens_part(details.get("tokens"))
    history = details.get("history") or [{}]
    unknown = max((1 - share for share in history[-1].get("known", [])), default=0.0)
    if unknown > 0:
        line += f", {100 * unknown:.2g}% of rows unknown to a term"
    return line


def _tokens_part(tokens: Mapping[str, int] | None) -> str:
    """Say how many texts were longer than the student reads of one."""
    if not tokens or not tokens["cut"]:
        return ""
    return (
        f", {tokens['cut']:,} of {tokens['texts']:,} texts were longer than"
        f" {tokens['most_tokens']} tokens and cut"
    )


def selection_line(selected: Selected) -> str:
    """Say one selection in a line; near-duplicates that were left out are told."""
    method = selected.rounds[-1].method["kind"]
    when = "chosen now" if selected.now else "done before"
    line = (
        f"select.{selected.name}: {selected.rows:,} of {selected.pool_rows:,} rows by {method},"
        f" {when}"
    )
    duplicates = selected.duplicates
    return f"{line}, {duplicates:,} near-duplicates left out" if duplicates else line


def labels_line(summary: LabelSummary) -> str:
    """Say one finished label set in a line that reconciles its rows."""
    now = f"{summary.labelled_now} labelled now" if summary.labelled_now else "done before"
    return (
        f"labels.{summary.name} over {summary.pool}: {summary.rows:,} rows in ="
        f" {summary.labelled:,} labelled + {summary.rejected:,} rejected;"
        f" {summary.fragments} fragments ({now}), {summary.bytes / summary.rows:.1f} bytes a row"
    )


def cascade_line(result: CascadeResult) -> str:
    """Say in a line where the student of a cascade is sure, what proves it, and what is sent on."""
    threshold = result.threshold
    where = f"it is sure from {threshold.threshold:.4g} on"
    proof = f"{threshold.right:,} of {threshold.answered:,} labelled rows are right there"
    if threshold.by == "sets":
        # of all rows: nothing is proven of those that the student answers
        where = f"one class alone has {threshold.threshold:.4g}"
        proof = (
            f"sets hold the truth of {threshold.right:,} of {threshold.answered:,} labelled rows"
        )
    to = "stay open" if result.to == "nobody" else f"go to {result.to}"
    line = (
        f"cascade.{result.name} over {result.pool}: {result.sent:,} of {result.rows:,} rows"
        f" ({100 * result.share_sent:.3g}%) {to}; the student answers where {where}:"
        f" {proof}, which proves {threshold.bound:.4g} at confidence {result.confidence:g}"
    )
    return line if not result.unreadable else f"{line}; {result.unreadable:,} rows are unreadable"
