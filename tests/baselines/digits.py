"""The handwritten digits in six views that the evidential papers report on, with their split: 1,600 and 400 rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.baselines.view_files import ViewSet, read_views

PATH = Path(__file__).parents[3] / "shared" / "data" / "multiview" / "handwritten_6views.npz"


def digits() -> ViewSet:
    if not PATH.is_file():
        pytest.skip(f"{PATH} is not here: the handwritten digits are not copied into the project")
    return read_views(PATH)
