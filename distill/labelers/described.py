"""How the classes of a base model are described: attributes as numbers, or a text each, embedded by an encoder.

Embeddings have length 1, so that the ridges mean the same whatever encoder made them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill.job import Eszsl, Job
from distill.labelers.build import require_libraries
from distill.labelers.place import Place
from distill.models.files import identify_model, local_model


def class_attributes(job: Job, fit: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Class names, and their attributes (classes, a). Raises JobError, MissingExtraError, LabelerError."""
    model = job.fit[fit].model
    assert isinstance(model, Eszsl)
    classes, rows = job.descriptions(fit)
    if model.encoder is None:
        return classes, np.array(rows, np.float64)
    require_libraries("embedding")
    from distill.labelers.sentences import Encoder

    files = identify_model(job.model_uri(model.encoder), None, f"fit.{fit}.model.encoder")
    embeddings = Encoder(Place(local_model(files))).embeddings([row[0] for row in rows], normalize=True)
    return classes, embeddings.astype(np.float64)
