"""`distill export`: a student as files that need nothing of distill's.

    weights.safetensors    the weights
    model.py               the network, in plain torch: `load("weights.safetensors")(features)`
    model.onnx             the network and its weights for ONNX Runtime, where it is asked for: held against torch before it is written
    model.json             sealed: features, heads, classes, what taught it, the plan of the network; what `distill predict` reads
    own.py                 of a student with a network of the user's own: its source, which `model.py` loads
    README.md              the model card

They lie beside the student, under `export/`. `model.py` and `own.py` are written for people who choose to run them; distill itself never does: it
builds the network from the plan, and from the copy of `own.py` that the person at the terminal names.
"""

from __future__ import annotations

from distill.export.onnx_file import require_onnx_extra
from distill.export.stage import Exported, export_students

__all__ = ["Exported", "export_students", "require_onnx_extra"]
