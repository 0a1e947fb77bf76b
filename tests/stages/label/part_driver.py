"""One driver of several as a process: labels `teacher` over JOB as PART, in this process alone, and
prints one line of JSON: label hash, fragments computed, requests."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict

from distill.labels.parts import parse_part
from distill.plan.load import load_job
from distill.run import label_pool
from distill.storage.request_counts import requests


def main(job: str, part: str) -> None:
    """Label, and print."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("distill").setLevel(logging.INFO)
    before = requests()
    (summary,) = label_pool(load_job(job), "teacher", engine="local", part=parse_part(part))
    spent = requests() - before
    print(
        json.dumps(
            {
                "label_hash": summary.label_hash,
                "computed": summary.labelled_now,
                "rows": summary.rows,
                "labelled": summary.labelled,
                "requests": asdict(spent),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
