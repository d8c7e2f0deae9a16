"""The command that trains a model of faces takes its steps in order, each on what the one before made."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.train_photo_model import ADAPTER, computes_bfloat16, steps


@pytest.mark.parametrize(
    ("flags", "found"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16", True), ("fpu avx2 avx512f", False), (None, False)],
)
def test_bfloat16_where_the_processor_multiplies_in_it(flags: str | None, found: bool, tmp_path: Path) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    assert computes_bfloat16(tmp_path / "cpuinfo") == found


def test_every_step_reads_what_an_earlier_one_makes(tmp_path: Path) -> None:
    taken = steps(tmp_path / "faces", tmp_path / "out", bf16=True)
    made = {str(tmp_path / "faces")}
    for result, arguments in taken:
        outputs = {arguments[arguments.index("--out") + 1]}
        inputs = {argument for argument in arguments if argument.startswith(str(tmp_path))} - outputs
        assert all(any(path.startswith(own) for own in made) for path in inputs), arguments
        assert str(result).startswith(next(iter(outputs)))
        made |= outputs
    assert taken[-1][0] == tmp_path / "out" / ADAPTER
