"""A study of several evaluations as one HTML file and as JSON.

The page stands alone, as a report does; the JSON has every number that the page has.
"""

from __future__ import annotations

import json

from distill.core.errors import JobError
from distill.core.results import EVALUATION_KEY, Evaluation
from distill.core.schema import unseal
from distill.core.study import Study
from distill.stages.report.compare import Judged
from distill.stages.report.write_report import STYLE, require_report_extra, template_of
from distill.storage.base import ObjectMissingError, Storage
from distill.storage.open import open_storage

PAGE = "comparison.html"
PLAIN = "comparison.json"


def read_result(uri: str) -> Judged:
    """Read a stored evaluation: `evaluation.json`, or the folder that holds it. Raises JobError where
    there is none, StorageError where it is damaged."""
    folder = open_storage(uri.removesuffix(f"/{EVALUATION_KEY}"))
    try:
        content = folder.read(EVALUATION_KEY)
    except ObjectMissingError:
        raise JobError(
            f"{uri}: there is no {EVALUATION_KEY}. Give one, its folder (the report lies there too), or"
            " a job file whose evaluation is done."
        ) from None
    where = folder.url(EVALUATION_KEY)
    return Judged(Evaluation.from_plain(unseal(content, where)), where)


def study_json(study: Study) -> str:
    """Return the study as JSON."""
    return json.dumps(study.to_plain(), indent=1, ensure_ascii=False, allow_nan=False)


def write_study(folder: Storage, study: Study) -> str:
    """Write page and JSON into a folder; return the page's URL. Raises MissingExtraError where the
    extra `report` is not installed."""
    require_report_extra()
    from distill.stages.report.compare_charts import draw_study
    from distill.stages.report.compare_page import StudyPage

    template = template_of("compare.html.jinja")
    page = template.render(
        style=STYLE.read_text("utf-8"), page=StudyPage(study), study=study, charts=draw_study(study)
    )
    plain = study_json(study)
    plain_bytes = plain.encode()
    folder.put(PLAIN, plain_bytes)
    page_bytes = page.encode()
    folder.put(PAGE, page_bytes)
    return folder.url(PAGE)
