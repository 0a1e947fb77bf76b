"""The stage `report`: an `Evaluation` rendered as `report.html` beside it.

The page stands alone: no script, no file and no address outside it. It carries the digest of what
it was made from, so that a finished job finds it again and imports neither matplotlib nor jinja2.
Names come from users: everything but our own SVG is escaped.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec

from distill.core.errors import MissingExtraError
from distill.core.results import Evaluation
from distill.core.schema import digest
from distill.storage.base import Storage

KEY = "report.html"
FORM = 2
"""Raised when the page changes, so that older ones are rendered anew."""


def write_report(folder: Storage, evaluation: Evaluation) -> str:
    """Render the page into `folder` unless it is there already; its URL.

    Raises MissingExtraError where the extra `report` is not installed.
    """
    mark = digest([FORM, evaluation.to_plain()])
    stored = folder.read_or_none(KEY)
    if stored is None or f'content="{mark}"'.encode() not in stored:
        folder.put(KEY, _render(evaluation, mark).encode())
    return folder.url(KEY)


def require_report_extra() -> None:
    """Raises MissingExtraError where the extra `report` is not installed: to be told before hours
    of work, not after."""
    for library in ("jinja2", "matplotlib"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "report", "the report")


def _render(evaluation: Evaluation, mark: str) -> str:
    require_report_extra()
    import jinja2

    from distill.stages.report.page import Page
    from distill.stages.report.plots import draw_charts

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("distill.stages.report").joinpath("page.html.jinja").read_text("utf-8")
    )
    return template.render(
        page=Page(evaluation), evaluation=evaluation, charts=draw_charts(evaluation), mark=mark
    )
