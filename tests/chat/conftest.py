"""The tiny model with a trained adapter and its record, and pictures to ask about."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.chat.models import TINY_ADAPTER
from emocaliber.datasets.embedded import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny_options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of `ask` and `chat` for the tiny model: none where its adapter comes with the package."""
    if TINY_ADAPTER.is_dir():
        return []
    packed = tmp_path_factory.mktemp("packed") / "tiny-adapter"
    script = [sys.executable, "scripts/pack_tiny_adapter.py", "out/demo", "--out", str(packed)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no trained tiny adapter: {done.stderr}")
    return ["--model", str(ROOT / "emocaliber/data/tiny-base"), "--adapter", str(packed)]


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve test pictures of kaomoji as PNG files."""
    folder = tmp_path_factory.mktemp("faces")
    rows = [row for row in load("kaomoji", "test") if row.id.endswith("-pixel")][:12]
    for number, row in enumerate(rows):
        assert isinstance(row.image, bytes)
        (folder / f"face-{number:02}.png").write_bytes(row.image)
    return sorted(folder.iterdir())


def png(width: int, height: int, colour: str = "white") -> bytes:
    """A plain picture."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def noisy_jpeg(width: int, height: int) -> bytes:
    """A picture that does not compress well."""
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
