"""A stage that runs out of disk or memory says so in one sentence, and goes on as if nothing had happened."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emocaliber.cli import main
from tests.runs.short_runs import RECIPES, model_of, overrides

pytestmark = pytest.mark.slow

RECIPE = str(RECIPES / "qwen3-vl-4b" / "1-label.yaml")
WEIGHTS = Path("adapter", "adapter_model.safetensors")
IN_PAGES = Path("/proc/self/statm")


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@pytest.fixture(scope="module")
def command(few: Path, models: Path) -> list[str]:
    return ["train", RECIPE, *overrides(model_of("qwen3-vl", models), few, "max_pixels=4096")]


@pytest.fixture(scope="module")
def uninterrupted(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The adapter of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "1"
    assert main([*command, "--out", str(out)]) == 0
    return (out / WEIGHTS).read_bytes()


@pytest.mark.parametrize("kilobytes", [0, 8, 64, 100])
def test_a_full_disk_is_one_sentence_and_the_next_run_ends_as_an_uninterrupted_one(
    kilobytes: int, command: list[str], uninterrupted: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file may grow beyond the limit: it strikes at the inputs, the weights, or the optimiser's state."""
    with limited(resource.RLIMIT_FSIZE, 1024 * kilobytes):
        assert main([*command, "--out", str(tmp_path / "1")]) == 2
    assert "the disk is full; free some" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "1" / "done.json").exists()
    assert main([*command, "--out", str(tmp_path / "1")]) == 0
    assert (tmp_path / "1" / WEIGHTS).read_bytes() == uninterrupted


@pytest.mark.skipif(not IN_PAGES.exists(), reason="the size of a process is read from /proc")
def test_full_memory_is_one_sentence_that_says_what_to_lower(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = int(IN_PAGES.read_text().split()[0]) * resource.getpagesize()
    with limited(resource.RLIMIT_AS, held + 2**28):
        assert main([*command, "lora_r=1000000", "--out", str(tmp_path / "1")]) == 2
    assert "the memory is full; halve per_device_train_batch_size" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "1" / "adapter").exists()
