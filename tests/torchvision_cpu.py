"""Makes the torchvision that PyPI has importable beside a torch without CUDA.

Its compiled part is linked to CUDA's libraries and does not load beside such a torch, and then the
import ends with "operator torchvision::nms does not exist". What we use of it (transforms, and that
timm imports it) needs no compiled part: declaring the two operators that the import asks for is
enough. A torchvision that fits its torch needs none of this.

`python tests/torchvision_cpu.py` puts it into the environment that runs it, where every process
finds it, Ray's workers too. Development alone: nothing of it is in the wheel.
"""

import shutil
import sys
import sysconfig
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class DeclaringLoader(Loader):
    """Declares them when torchvision is executed, and not when it is merely looked for."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        import torch

        # kept by the module: its operators go when it goes
        module.declared = torch.library.Library("torchvision", "DEF")
        for each in OPERATORS:
            module.declared.define(each)
        self.loader.exec_module(module)


class Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = DeclaringLoader(spec.loader)
        return spec


def install():
    import torch

    if torch.version.cuda is not None:
        return
    site = Path(sysconfig.get_path("purelib"))
    shutil.copy(__file__, site / "torchvision_cpu.py")
    (site / "torchvision_cpu.pth").write_text("import torchvision_cpu\n")


if __name__ == "__main__":
    install()
else:
    sys.meta_path.insert(0, Finder())
