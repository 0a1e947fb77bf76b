"""The stage `report`: an `Evaluation` rendered as `report.html` beside it.

The page stands alone: no script, no file and no address outside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from distill.core.cascades import CascadeCost
from distill.core.errors import MissingExtraError
from distill.core.results import Evaluation
from distill.core.schema import digest
from distill.core.timeline import RunRecord
from distill.storage.base import Storage

KEY = "report.html"
_FILES = files("distill.stages.report")
STYLE = _FILES.joinpath("style.css")  # how all pages look
# raised when the page changes, so that older ones are rendered anew
FORM = 2
# of a method, which its name says already: a page from before these fields is found again
_NOT_SHOWN = ("student", "head")


def write_report(
    folder: Storage,
    evaluation: Evaluation,
    runs: Sequence[RunRecord] = (),
    cascades: Sequence[CascadeCost] = (),
) -> str:
    """Render the page into `folder` unless it is there already; return its URL. `runs` are those of
    the job, the oldest first; `cascades` those that were applied.

    Raises MissingExtraError where the extra `report` is not installed."""
    mark = _mark(evaluation, runs, cascades)
    stored = folder.read_or_none(KEY)
    # the page carries the digest of what it was made from: a finished job finds it again, and
    # imports neither matplotlib nor jinja2
    if stored is None or f'content="{mark}"'.encode() not in stored:
        page = _render(evaluation, runs, cascades, mark)
        content = page.encode()
        folder.put(KEY, content)
    return folder.url(KEY)


def _mark(
    evaluation: Evaluation, runs: Sequence[RunRecord], cascades: Sequence[CascadeCost]
) -> str:
    """Return the digest of what the page shows."""
    plain = evaluation.to_plain()
    for method in plain["methods"]:
        for name in _NOT_SHOWN:
            del method[name]
    # a root from before runs were recorded keeps its page
    shown = [FORM, plain, *(record.to_plain() for record in runs)]
    return digest([*shown, *(cost.to_plain() for cost in cascades)])


def require_report_extra() -> None:
    """Refuse to begin hours of work whose report could not be written.

    Raises MissingExtraError where the extra `report` is not installed."""
    for library in ("jinja2", "matplotlib"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "report", "the report")


def _render(
    evaluation: Evaluation, runs: Sequence[RunRecord], cascades: Sequence[CascadeCost], mark: str
) -> str:
    require_report_extra()
    from distill.stages.report.cascade import cascade_lines
    from distill.stages.report.judging import Judging
    from distill.stages.report.page import Page
    from distill.stages.report.plots import draw_charts
    from distill.stages.report.privacy import Promises
    from distill.stages.report.structure_section import structure_sections
    from distill.stages.report.timeline import run_section

    page = Page(evaluation)
    charts = draw_charts(evaluation)
    judging = template_of("judging.html.jinja").render(view=Judging(evaluation, page.best))
    privacy = template_of("privacy.html.jinja").render(view=Promises(evaluation))
    sections = structure_sections(evaluation)
    cascaded = ""
    if cascades:
        cascaded = template_of("cascade.html.jinja").render(lines=cascade_lines(cascades))
    page_text: str = template_of("page.html.jinja").render(
        style=STYLE.read_text("utf-8"),
        page=page,
        evaluation=evaluation,
        charts=charts,
        judging=judging,
        privacy=privacy,
        cascades=cascaded,
        audit=_audit_part(evaluation),
        sections=sections,
        runs=run_section(runs),
        mark=mark,
    )
    return page_text


def template_of(name: str) -> Any:
    """Return one of the templates of the pages."""
    import jinja2

    # names come from users: everything but our own SVG is escaped; a misspelt variable is no empty
    # text
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_FILES.joinpath(name).read_text("utf-8"))


def _audit_part(evaluation: Evaluation) -> str:
    """Return the page's part about the audit; "" where there was none."""
    from distill.stages.report.audit_section import AuditSection

    if evaluation.audit is None:
        return ""
    part: str = template_of("audit.html.jinja").render(view=AuditSection(evaluation.audit))
    return part
