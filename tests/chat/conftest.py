"""The tiny model behind `emocaliber chat`, and pictures to ask about."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.chat.model import ModelChoice, model_choice
from emocaliber.cli.ask import add_model_arguments
from emocaliber.core.images import read_image_bytes
from emocaliber.data.embedded import load
from tests.chat.browser import Browser


def choice_of(*options: str) -> ModelChoice:
    """What these options of `ask` and `chat` say; nothing is loaded."""
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    return model_choice(parser.parse_args(options))


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve test pictures of kaomoji as PNG files."""
    folder = tmp_path_factory.mktemp("faces")
    rows = [row for row in load("kaomoji", "test") if row.id.endswith("-pixel")][:12]
    for number, row in enumerate(rows):
        (folder / f"face-{number:02}.png").write_bytes(read_image_bytes(row.image))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def album(faces: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twenty pictures: faces, some of them in a folder below, a broken one, and one that leads outside."""
    folder = tmp_path_factory.mktemp("album")
    (folder / "below").mkdir()
    for number in range(18):
        place = folder / "below" if number % 3 == 0 else folder
        (place / f"{number:02}.png").write_bytes(faces[number % 12].read_bytes())
    (folder / "<b>broken.png").write_text("no picture")
    (folder / "link.png").symlink_to(faces[0])
    (folder / "notes.txt").write_text("not shown")
    return folder


def png(width: int, height: int, colour: str = "white") -> bytes:
    """A plain picture."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def bomb() -> bytes:
    """A hundred megapixels in a few kilobytes."""
    buffer = BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    return buffer.getvalue()


def noisy_jpeg(width: int, height: int) -> bytes:
    """A picture that does not compress well."""
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page may leave temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="session")
def page_url(page_folder: Path, album: Path) -> Iterator[str]:
    """`emocaliber chat` on a free port, until the tests are over."""
    with page(page_folder, "--gallery", str(album)) as url:
        yield url


CHAT = (sys.executable, "-m", "emocaliber", "chat", "--port", "0")


@contextmanager
def page(folder: Path, *options: str, command: Sequence[str] = CHAT, **variables: str) -> Iterator[str]:
    """`emocaliber chat` with these options on a free port; `folder` is where it may leave temporary files."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder), **variables}
    command = [*command, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first.startswith("The page: http://127.0.0.1:"):
            process.kill()
            pytest.fail(first + process.stdout.read())
        threading.Thread(target=process.stdout.read, daemon=True).start()
        try:
            yield first.split()[2]
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def browser(page_url: str) -> Iterator[Browser]:
    """A user with the page open; each test opens it afresh."""
    user = Browser(page_url)
    yield user
    user.close()
