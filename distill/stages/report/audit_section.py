"""What the page says of an audit, in words and numbers. `audit.html.jinja` only places it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from distill.core.audit_results import (
    LIRA_OFFLINE,
    LIRA_ONLINE,
    LOSS,
    RATES,
    TITLES,
    Attack,
    AuditResult,
    SubjectResult,
    bound_sentence,
    subject_sentence,
)
from distill.core.privacy import NO_STATEMENT
from distill.stages.report.drawing import (
    COLOURS,
    GREY,
    Chart,
    Mark,
    as_svg,
    house_style,
    log_x,
    new_axes,
)

_COLOURS = {LOSS: COLOURS[1], LIRA_ONLINE: COLOURS[0], LIRA_OFFLINE: COLOURS[2]}
_MOST_CHARTS = 6
_LEAST_SHARE = 1e-4  # what a share of members of none is drawn at: a logarithm has no zero


@dataclass(frozen=True)
class Line:
    """One attack on one subject in the table."""

    name: str
    attack: str
    cells: Sequence[str]


@dataclass(frozen=True)
class AuditSection:
    """The report's view of an audit."""

    audit: AuditResult

    @property
    def lead(self) -> str:
        """What was tried, on which rows."""
        audit = self.audit
        text = (
            f"{audit.members:,} rows of {audit.members_pool} that taught and {audit.others:,} of"
            f" {audit.others_pool} that did not, tried on every model by attacks that look at what"
            " it says of a row whose target is known."
        )
        if audit.shadows:
            text += (
                f" LiRA compares with {audit.shadows} shadow models, taught by the same job on"
                " random halves of both pools."
            )
        if audit.doubles:
            text += (
                f" {audit.doubles:,} rows that taught nothing have a double among those that did"
                " and are left out."
            )
        return text

    @property
    def heads(self) -> list[str]:
        """Column heads."""
        rates = [f"found at {share:.1%} false" for share in reversed(RATES)]
        return ["AUC", "95% interval", *rates, "loss of members, others"]

    @property
    def lines(self) -> list[Line]:
        """The table."""
        return [self._line(each, attack) for each in self.audit.subjects for attack in each.attacks]

    def _line(self, subject: SubjectResult, attack: Attack) -> Line:
        low, high = attack.interval(self.audit.members, self.audit.others)
        rates = [attack.rate(share).in_words for share in reversed(RATES)]
        losses = f"{subject.loss_of_members:.3g}, {subject.loss_of_others:.3g}"
        cells = [f"{attack.auc:.3f}", f"{low:.3f} to {high:.3f}", *rates, losses]
        return Line(subject.name, TITLES[attack.kind], cells)

    @property
    def sentences(self) -> list[str]:
        """What was found, and what it means."""
        found = []
        for subject in self.audit.subjects:
            found.append(subject_sentence(self.audit, subject))
            if subject.without_shadows:
                found.append(f"{subject.name}: no LiRA, since {subject.without_shadows}.")
            found += filter(None, [bound_sentence(subject)])
        if any(each.statement is None for each in self.audit.subjects):
            found.append(NO_STATEMENT)
        found.append(
            "An attack that finds nothing proves nothing: others may be stronger. Only a bound by"
            " its mechanism (private votes, private training) promises anything, and no promise"
            " covers this section: it is made of the labelled rows themselves."
        )
        return found

    @cached_property
    def charts(self) -> list[Chart]:
        """The ROC curves, a picture a subject."""
        with house_style():
            return [self._chart(each) for each in self.audit.subjects[:_MOST_CHARTS]]

    def _chart(self, subject: SubjectResult) -> Chart:
        axes = new_axes(3.6, xlabel="false positives", ylabel="members found")
        least = 1 / self.audit.others
        axes.plot([least, 1], [least, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        for attack in subject.attacks:
            _draw(axes, attack)
        log_x(axes, least, 1.0)
        axes.set_yscale("log")
        axes.set_ylim(max(least / 2, _LEAST_SHARE), 1.2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.yaxis.set_minor_formatter(lambda _value, _: "")
        title = f"Who taught {subject.name}"
        areas = ", ".join(f"{TITLES[each.kind]} {each.auc:.3f}" for each in subject.attacks)
        return Chart(
            title=title,
            svg=as_svg(axes.figure, title=title, description=f"ROC curves; AUC: {areas}"),
            legend=[Mark(TITLES[each.kind], _COLOURS[each.kind]) for each in subject.attacks],
            caption="On the dashed line, an attack only guesses. Both axes are logarithmic: what"
            " counts is how many are found while few are wrongly accused.",
            paired=True,
        )


def _draw(axes: Any, attack: Attack) -> None:
    shares = [max(share, _LEAST_SHARE) for share, _ in attack.curve]
    found = [max(share, _LEAST_SHARE) for _, share in attack.curve]
    axes.plot(shares, found, color=_COLOURS[attack.kind], linewidth=1.4, drawstyle="steps-post")
