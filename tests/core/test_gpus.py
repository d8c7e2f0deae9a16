"""A process that no launcher started takes one GPU of several and says so; the others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.environment import take_one_gpu


def devices(folder: Path, count: int) -> Path:
    for name in (*(f"nvidia{number}" for number in range(count)), "nvidiactl", "nvidia-uvm"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(("named", "number", "here"), [(None, "0", 8), ("3,5", "3", 2)])
def test_one_of_several_is_taken(tmp_path: Path, named: str | None, number: str, here: int) -> None:
    environment = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    sentence = take_one_gpu(environment, devices(tmp_path, 8))
    assert environment["CUDA_VISIBLE_DEVICES"] == number
    assert sentence is not None
    assert f"uses one GPU, number {number}, of the {here} available" in sentence
    assert f"--num_processes {here}" in sentence


@pytest.mark.parametrize(
    ("environment", "count"), [({}, 1), ({}, 0), ({"CUDA_VISIBLE_DEVICES": "2"}, 8), ({"WORLD_SIZE": "8"}, 8)]
)
def test_nothing_is_changed_where_there_is_nothing_to_choose(
    environment: dict[str, str], count: int, tmp_path: Path
) -> None:
    before = dict(environment)
    assert take_one_gpu(environment, devices(tmp_path, count)) is None
    assert environment == before
