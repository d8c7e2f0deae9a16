"""The harness: every sample a row, nothing asked twice, settings never mixed, the same files after any stop."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emocaliber.core.predictions import read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import FileImage, ImageSource, Sample
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.generation import harness
from emocaliber.generation.engine import Request, Response
from emocaliber.generation.harness import generate
from emocaliber.generation.transformers_engine import TransformersEngine

BOTH, LABEL = load_template("label-confidence"), load_template("label")
RESULTS = (
    "responses.jsonl",
    "predictions.jsonl",
    "predictions-expected.jsonl",
    "predictions-logprob.jsonl",
    "manifest.json",
)


def png(seed: int, shape: tuple[int, int] = (56, 56)) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sample(name: int, image: ImageSource | None = None) -> Sample:
    labels = KAOMOJI_10.labels
    picture = png(name) if image is None else image
    return Sample(str(name), picture, "kaomoji", labels, labels[name % 10], "test", "a style", str(name))


@pytest.fixture(scope="module")
def engine(random_model: Path) -> TransformersEngine:
    return TransformersEngine(random_model, max_new_tokens=4)


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in RESULTS]


def test_a_second_run_asks_nothing_and_writes_the_same_files(engine: TransformersEngine, tmp_path: Path) -> None:
    samples = [sample(number) for number in range(6)]
    first = generate(samples, engine, BOTH, tmp_path, method="m")
    written = contents(tmp_path)
    second = generate(samples, engine, BOTH, tmp_path, method="m")
    assert (first.queried, second.queried, second.rows) == (6, 0, 6)
    assert contents(tmp_path) == written


def test_other_settings_find_nothing_to_reuse(engine: TransformersEngine, random_model: Path, tmp_path: Path) -> None:
    samples = [sample(number) for number in range(3)]
    generate(samples, engine, BOTH, tmp_path, method="m")
    assert generate(samples, engine, LABEL, tmp_path, method="m").queried == 3
    longer = TransformersEngine(random_model, max_new_tokens=5)
    assert generate(samples, longer, BOTH, tmp_path, method="m").queried == 3
    assert generate(samples, engine, BOTH, tmp_path, method="m").queried == 0


def test_a_changed_image_under_the_same_name_is_asked_about_anew(engine: TransformersEngine, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(png(1))
    samples = [sample(0, FileImage(tmp_path, "face.png"))]
    assert generate(samples, engine, BOTH, tmp_path / "out", method="m").queried == 1
    (tmp_path / "face.png").write_bytes(png(2))
    assert generate(samples, engine, BOTH, tmp_path / "out", method="m").queried == 1


def ten_broken(root: Path) -> list[ImageSource]:
    grey16 = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    buffers = [BytesIO() for _ in range(4)]
    Image.new("RGB", (1, 1)).save(buffers[0], "PNG")
    Image.new("CMYK", (56, 56)).save(buffers[1], "JPEG")
    grey16.save(buffers[2], "PNG")
    Image.new("RGB", (56, 56)).save(
        buffers[3], "WEBP", save_all=True, append_images=[Image.new("RGB", (56, 56), "red")]
    )
    single, cmyk, sixteen, animated = (buffer.getvalue() for buffer in buffers)
    header = bytearray(png(0))
    header[16:24] = (50_000).to_bytes(4, "big") * 2
    (root.parent / "outside.png").write_bytes(png(0))
    (root / "link.png").symlink_to(root.parent / "outside.png")
    (root / "wrong.jpg").write_bytes(png(3))
    outside, missing, wrong = (FileImage(root, name) for name in ("link.png", "missing.png", "wrong.jpg"))
    return [png(1)[:-30], b"", single, bytes(header), wrong, cmyk, sixteen, animated, outside, missing]


def test_ten_kinds_of_broken_image_are_ten_rows(engine: TransformersEngine, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    samples = [sample(number, image) for number, image in enumerate(ten_broken(tmp_path / "data"))]
    summary = generate([*samples, sample(10)], engine, BOTH, tmp_path / "out", method="m")
    rows = list(read_predictions(tmp_path / "out" / "predictions.jsonl"))
    usable = {"4", "5", "6", "10"}  # a wrong suffix, CMYK and 16 bits are converted
    assert [row.id for row in rows] == [str(number) for number in range(11)]
    assert {row.id for row in rows if row.state != "image error"} == usable
    assert summary.queried == 4


def test_draws_are_reproducible_and_their_shares_are_rows(random_model: Path, tmp_path: Path) -> None:
    samples = [sample(number) for number in range(3)]
    for out, batch in (("a", 1), ("b", 3)):
        drawing = TransformersEngine(random_model, max_new_tokens=4, temperature=1.0, seed=7, batch_size=batch)
        generate(samples, drawing, BOTH, tmp_path / out, method="m", draws=3)
    for name in ("responses.jsonl", "responses-1.jsonl", "responses-2.jsonl", "predictions-sampled.jsonl"):
        texts = [(tmp_path / out / name).read_text() for out in "ab"]
        assert [line.split('"choices"')[0] for line in texts[0].splitlines()] == [
            line.split('"choices"')[0] for line in texts[1].splitlines()
        ]
    assert (tmp_path / "a/responses.jsonl").read_text() != (tmp_path / "a/responses-1.jsonl").read_text()
    assert len(list(read_predictions(tmp_path / "a/predictions-sampled.jsonl"))) == 3


def samples_file(path: Path, count: int) -> None:
    rows = [sample(number) for number in range(count)]
    columns = ("id", "task", "candidates", "label", "split", "group", "cluster", "licence")
    listed = [{name: getattr(row, name) for name in columns} for row in rows]
    pictures = [{"bytes": row.image, "path": None} for row in rows]
    pq.write_table(
        pa.Table.from_pylist([{**row, "image": image} for row, image in zip(listed, pictures, strict=True)]), path
    )


@pytest.mark.slow
def test_killed_ten_times_the_files_are_those_of_an_uninterrupted_run(random_model: Path, tmp_path: Path) -> None:
    samples_file(tmp_path / "samples.parquet", 600)

    def command(out: str) -> list[str]:
        options = ["samples.parquet", "--model", str(random_model), "--max-new-tokens", "4", "--out", out]
        return [sys.executable, "-m", "emocaliber", "predict", *options]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    subprocess.run(command("whole"), cwd=tmp_path, env=environment, check=True, capture_output=True)
    took = time.monotonic() - started
    chance = random.Random(0)
    for _ in range(10):
        run = subprocess.Popen(command("killed"), cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(took * chance.uniform(0.3, 1.0))
        run.send_signal(signal.SIGKILL)
        run.wait()
    subprocess.run(command("killed"), cwd=tmp_path, env=environment, check=True, capture_output=True)
    uninterrupted, killed = (contents(tmp_path / out) for out in ("whole", "killed"))
    assert killed == uninterrupted
    assert not list((tmp_path / "killed").glob(".*.part.*"))


class Sluggish(TransformersEngine):
    """An engine whose every call takes longer than the harness waits in silence."""

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        time.sleep(0.5)
        return super().generate(requests)


def test_an_engine_without_a_first_answer_is_noticed_and_another_is_not(
    engine: TransformersEngine, random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    generate([sample(1)], engine, BOTH, tmp_path / "quick", method="m")
    assert "no answer" not in capsys.readouterr().err
    monkeypatch.setattr(harness, "SLOW_START", 0.1)
    generate([sample(1)], Sluggish(random_model, max_new_tokens=4), BOTH, tmp_path / "slow", method="m")
    assert "no answer for 0 s: the engine is still at its first step" in capsys.readouterr().err
