"""Let a CUDA build of torchvision be imported beside a CPU build of torch.

PyPI's torchvision wheel for Linux is a CUDA build. Beside a CPU torch its C++ extension cannot load, its import stops
with `operator torchvision::nms does not exist`, and every image processor of transformers fails after it. Its
pure-Python transforms, which are all that image processors use, work once the two missing operators are declared.

The set-up copies this file into the environment's site-packages with a `.pth` line that imports it in every process of
the environment, children included. It does nothing until torchvision is first imported, and nothing at all where the
extension loads. It is no part of the package emocaliber, and gives torchvision no working `nms`.

    python scripts/setup_environment.py train      # installs it where it is needed
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[object] = []  # a torch.library.Library undoes its declarations when it is collected


class DeclareOperatorsFirst:
    """Meta-path finder that acts once, just before torchvision is first imported, and then steps aside."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            _declare_if_extension_cannot_load()
        return None


def _declare_if_extension_cannot_load() -> None:
    spec = PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        import torch
    except ImportError:
        return
    try:
        torch.ops.load_library(Path(spec.origin).parent / "_C.so")
    except OSError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms" + SCHEMA)
        library.define("qnms" + SCHEMA)
        _declared.append(library)


sys.meta_path.insert(0, DeclareOperatorsFirst())
