"""Every second is counted once, and a profiled stage tells its parts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.stages.profiling import FORWARD, GENERATION, PICTURE, REST, VISION, part, profile_table, profiled

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "1-label.yaml"


def test_the_parts_add_up_to_the_whole_and_the_innermost_counts() -> None:
    began = time.perf_counter()
    with profiled() as profile:
        with part(FORWARD), part(VISION):
            time.sleep(0.02)
        with part(GENERATION), part(FORWARD), part(VISION):
            time.sleep(0.03)
    assert sum(profile.seconds.values()) <= time.perf_counter() - began
    assert 0.02 <= profile.seconds[VISION] < 0.02 + profile.seconds[GENERATION]
    assert profile.seconds[GENERATION] >= 0.03
    assert profile.seconds.keys() == {REST, FORWARD, VISION, GENERATION}


def test_nothing_is_counted_where_no_profile_is_wanted() -> None:
    with part(VISION):
        pass
    with profiled() as profile:
        pass
    assert profile.seconds.keys() == {REST}


def test_the_table_has_shares_of_the_whole() -> None:
    with profiled() as profile:
        pass
    profile.seconds, profile.steps = {FORWARD: 3.0, VISION: 1.0}, 2
    lines = profile_table(profile).splitlines()
    assert lines[1].split()[-3:] == ["3.0", "75.0%", "1500"]
    assert lines[-1].split()[-3:] == ["4.0", "100.0%", "2000"]


@pytest.mark.slow
def test_a_profiled_stage_tells_its_parts_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["max_steps=2", "per_device_train_batch_size=4", "keep_features=false", "dataloader_num_workers=0"]
    assert main(["train", str(RECIPE), *short, "--out", str(tmp_path / "out"), "--profile"]) == 0
    said = capsys.readouterr().out
    for name in ("data", "vision tower", "language model, forward", "loss and backward", "optimiser", "all, 2 steps"):
        assert f"\n{name} " in said
    assert (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")
