from __future__ import annotations

import json

import pytest

from distill.core.errors import LabelerError
from tests.labelers.asking import embedding
from tests.tiny_models import save_encoder


def test_a_model_runs_code_that_its_folder_names(tmp_path):
    folder = save_encoder(tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[-1]["type"] = "evil.Module"
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(LabelerError, match=r"not the library's own: \['evil\.Module'\]"):
        embedding(folder, width=16)
    (folder / modules[-1]["path"]).mkdir(exist_ok=True)
    (folder / modules[-1]["path"] / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(LabelerError, match=r"a format that can run code"):
        embedding(folder, width=16)
    with pytest.raises(LabelerError, match=r"has no modules\.json"):
        embedding(tmp_path, width=16)


def test_weights_that_the_file_lacks_are_drawn_at_random(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_encoder(tmp_path / "model")
    (file,) = folder.rglob("model.safetensors")
    weights = load_file(file)
    lost = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    del weights[lost]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(LabelerError, match=rf"lacks weights.*{lost}"):
        embedding(folder, width=16)
