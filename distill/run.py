"""The chain of stages, on one screen. Each does only what is unfinished, so running again is how
one resumes.

Stages meet as objects in storage alone; this module decides their order and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from distill.core.errors import JobError
from distill.core.results import Evaluation
from distill.job.job import Job
from distill.models.record import Trained
from distill.plan.checks.losses import check_custom_losses
from distill.plan.checks.trial import check_networks_build
from distill.plan.pools import check_pools
from distill.plan.widths import head_widths
from distill.spec.models import Eszsl
from distill.stages.evaluate.evaluate_students import evaluate_students
from distill.stages.export.export_students import Exported, export_students
from distill.stages.export.onnx_file import require_onnx_extra
from distill.stages.fit import fit_labeler
from distill.stages.inventory import list_pools
from distill.stages.label.canary import check_canaries
from distill.stages.label.label_pool import LabelSummary, label_pool
from distill.stages.make_models import make_models
from distill.stages.make_pools import make_pool
from distill.stages.report.write_report import require_report_extra, write_report
from distill.stages.train.train_students import train_fits, train_students
from distill.stages.verify import Verified, verify_labels

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """What a whole job came to."""

    evaluation: Evaluation | None
    report: str | None
    """URL of the report."""


def run_job(job: Job, say: Say = print) -> Finished:
    """All stages, in order; `say` gets a line for each thing that is there. Raises DistillError."""
    if job.evaluate is not None:
        require_report_extra()
    prepare_inputs(job, job.labels)
    for trained in fit_labelers(job):
        say(trained_line(trained))
    for name in job.labels:
        for summary in label_pool(job, name):
            say(labels_line(summary))
    for trained in train_students(job):
        say(trained_line(trained))
    if job.evaluate is None:
        return Finished(None, None)
    folder, evaluation = evaluate_students(job)
    return Finished(evaluation, write_report(folder, evaluation))


def prepare_inputs(job: Job, labels: Iterable[str] = ()) -> None:
    """Make the pools that the job makes itself, list all, refuse what cannot be read or trained,
    and make the models of those label sets, before any work."""
    for name in job.pools:
        make_pool(job, name)
    list_pools(job)
    check_pools(job)
    check_networks_build(job)
    for variant in job.variants:
        head_widths(job, variant.spec, f"students.{variant.student}")
        check_custom_losses(job, variant.spec, f"students.{variant.student}")
    make_models(job, labels)


def fit_labelers(job: Job, names: Sequence[str] | None = None) -> list[Trained]:
    """Fit labelers: networks by gradients, in one worker group; the others by passes."""
    wanted = list(job.fit) if names is None else list(names)
    unknown = [name for name in wanted if name not in job.fit]
    if unknown:
        raise JobError(
            f"{job.path}: there is no fit {unknown[0]!r}. There is: {', '.join(job.fit) or 'none'}."
        )
    by_passes = [name for name in wanted if isinstance(job.fit[name].model, Eszsl)]
    networks = train_fits(job, [name for name in wanted if name not in by_passes])
    return networks + [fit_labeler(job, name) for name in by_passes]


def export_job(
    job: Job, names: Sequence[str] | None = None, *, onnx: bool = False
) -> list[Exported]:
    """Export students, with how well they do where the job judges them; with `onnx` also for ONNX
    Runtime."""
    if onnx:
        require_onnx_extra()
    results = evaluate_students(job)[1].methods if job.evaluate is not None else ()
    return export_students(job, names, results, onnx=onnx)


def verify_job(job: Job, name: str | None, canaries: int) -> list[Verified]:
    """Prove the invariants on stored label sets, one or all; where they hold, ask the live labeler
    about so many fragments of each again."""
    found = []
    for chosen in job.chosen_labels(name):
        for each in verify_labels(job, chosen):
            asked = canaries if not each.problems else 0
            live = check_canaries(job, chosen, each.pool, asked) if asked else []
            found.append(replace(each, problems=(*each.problems, *live)))
    return found


def trained_line(trained: Trained) -> str:
    """One finished model as a line; rows that one of its terms does not know (rejected ones) are
    told."""
    history = trained.record.details.get("history") or [{}]
    unknown = max((1 - share for share in history[-1].get("known", [])), default=0.0)
    noted = f", {100 * unknown:.2g}% of rows unknown to a term" if unknown > 0 else ""
    epochs, best = trained.record.details.get("epochs"), trained.record.details.get("best_epoch")
    stopped = f", stopped after epoch {epochs}, epoch {best} is kept" if best else ""
    return (
        f"{trained.name}: {trained.record.parameters:,} parameters,"
        f" {'trained now' if trained.now else 'done before'}{stopped}{noted}"
    )


def labels_line(summary: LabelSummary) -> str:
    """One finished label set as a line that reconciles its rows."""
    now = f"{summary.labelled_now} labelled now" if summary.labelled_now else "done before"
    return (
        f"labels.{summary.name} over {summary.pool}: {summary.rows:,} rows in ="
        f" {summary.labelled:,} labelled + {summary.rejected:,} rejected; {summary.fragments}"
        f" fragments ({now}), {summary.bytes / summary.rows:.1f} bytes a row"
    )
