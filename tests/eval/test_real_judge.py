"""Rows of several seeds are judged together: each by its own maps, and intervals are between faces, not rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.benchmarks.real_judge import BEST, PROBABILITY, STATED, build_methods, main, pool_models, score_methods
from tests.eval.test_verbalization_figures import written


def test_a_second_seed_that_says_the_same_brings_no_certainty(tmp_path: Path) -> None:
    rows, fresh = written(tmp_path / "rows.jsonl", 200, 0), written(tmp_path / "fresh.jsonl", 100, 1)
    alone, twice = build_methods(rows, fresh), pool_models([build_methods(rows, fresh)] * 2)
    assert set(alone[1]) == set(twice[1]) >= {STATED, PROBABILITY, BEST}
    first, second = (score_methods(*each)[STATED]["brier"] for each in (alone, twice))
    assert first.value == pytest.approx(second.value)
    assert second.high - second.low == pytest.approx(first.high - first.low, rel=0.25)


def test_every_seed_has_its_own_maps(tmp_path: Path) -> None:
    rows = [written(tmp_path / f"rows-{n}.jsonl", 60, n) for n in (0, 1)]
    fresh = [written(tmp_path / f"fresh-{n}.jsonl", 100, n) for n in (2, 3)]
    both = [build_methods(*paths) for paths in zip(rows, fresh, strict=True)]
    rated, methods = pool_models(both)
    assert len(rated.rows) == sum(len(own.rows) for own, _ in both)
    np.testing.assert_array_equal(methods[BEST].confidence, np.concatenate([own[BEST].confidence for _, own in both]))


def test_a_table_for_each_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = written(tmp_path / "rows.jsonl", 60, 0)
    lines = rows.read_text().splitlines()
    rows.write_text("".join(f'{line[:-1]}, "group": "{("noise", "blur")[n % 2]}"}}\n' for n, line in enumerate(lines)))
    monkeypatch.setattr("sys.argv", ["real_judge", str(rows), "--by-group"])
    main()
    printed = capsys.readouterr().out
    assert "noise, n = 30" in printed
    assert "blur, n = 29" in printed
