"""Let a CUDA build of torchvision be imported beside a CPU build of torch.

PyPI's torchvision wheel for Linux is a CUDA build. Beside a CPU torch its C++ extension cannot load, its import stops
with `operator torchvision::nms does not exist`, and every image processor of transformers fails after it. Its
pure-Python transforms, which are all that image processors use, work once the two missing operators are declared.

Run by an environment's Python, this file copies itself into its site-packages with a `.pth` line that imports it in
every process of the environment, children included. It acts when torchvision is imported, and does nothing where the
extension loads. It is no part of the package emocaliber, and gives torchvision no working `nms`.

    .venv/bin/python scripts/torchvision_beside_cpu_torch.py       # as the set-up does beside a CPU build of torch
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[object] = []  # a torch.library.Library undoes its declarations when it is collected


class TorchvisionLoader(SourceFileLoader):
    """Loads torchvision's package after declaring the operators that its extension would have brought."""

    def exec_module(self, module: ModuleType) -> None:
        import torch

        try:
            torch.ops.load_library(self.path.replace("__init__.py", "_C.so"))
        except OSError:
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define("nms" + SCHEMA)
            library.define("qnms" + SCHEMA)
            _declared.append(library)
        super().exec_module(module)


class TorchvisionFinder:
    """Meta-path finder for the name torchvision alone. Asking whether torchvision exists imports nothing."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None:
            spec.loader = TorchvisionLoader(name, spec.origin)
        return spec


def install() -> None:
    """Put this file into the site-packages of the Python that runs it."""
    own, packages = Path(__file__), Path(sysconfig.get_path("purelib"))
    shutil.copyfile(own, packages / own.name)
    (packages / f"{own.stem}.pth").write_text(f"import {own.stem}\n")
    print(f"torchvision loads beside a CPU build of torch from now on: {packages / own.name}")


if __name__ == "__main__":
    install()
else:
    sys.meta_path.insert(0, TorchvisionFinder)
