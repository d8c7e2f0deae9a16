"""What a confidence is worth when the picture is made worse: counted, not made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from emocaliber.core.images import load_image
from emocaliber.core.prompting import Template
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.stages import teacher
from emocaliber.stages.teacher import COPIES, Answer, survival


class Believer:
    """A teacher that believes what a function of the pictures says."""

    def __init__(self, believe: Callable[[Sequence[Sample]], list[np.ndarray]]) -> None:
        self.label_probabilities = believe

    def answers(self, samples: Sequence[Sample], template: Template, draw: int = 0) -> list[Answer]:
        raise AssertionError("nothing is drawn")


def of_brightness(samples: Sequence[Sample]) -> list[np.ndarray]:
    """Believes in the first candidate of a bright picture, in the second of a dark one."""
    beliefs = []
    for sample in samples:
        bright = float(np.asarray(load_image(sample.image)).mean()) / 255
        beliefs.append(np.array([bright, 1 - bright, *[0.0] * (len(sample.candidates) - 2)]))
    return beliefs


def of_detail(samples: Sequence[Sample]) -> list[np.ndarray]:
    """Believes in the first candidate where neighbouring pixels differ little."""
    beliefs = []
    for sample in samples:
        pixels = np.asarray(load_image(sample.image), dtype=float)
        smooth = float(np.abs(np.diff(pixels, axis=1)).mean() < 20)
        beliefs.append(np.array([smooth, 1 - smooth, *[0.0] * (len(sample.candidates) - 2)]))
    return beliefs


def test_an_answer_that_nothing_changes_survives_every_copy() -> None:
    believed = survival(load("kaomoji", "calibrate")[:3], Believer(of_brightness))
    assert all(belief.argmax() == 0 for belief in believed.beliefs), "a kaomoji is dark on bright"
    assert believed.confidences.tolist() == [share[0] for share in believed.stated] == [1.0] * 3, (
        "not a rounding above one, which is no confidence"
    )


def test_an_answer_that_hangs_on_detail_survives_some_of_them() -> None:
    for share in survival(load("kaomoji", "calibrate")[:3], Believer(of_detail)).stated:
        assert share.sum() == pytest.approx(1.0)
        assert 0 < share[0] < 1
        assert share[0] * COPIES == pytest.approx(round(share[0] * COPIES))


def test_rows_beyond_one_chunk_have_their_own_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "CHUNK", 2)
    [sample, *_] = load("kaomoji", "calibrate")
    many = [replace(sample, id=str(n)) for n in range(5)]
    queried: list[str] = []

    def ask(rows: Sequence[Sample]) -> list[np.ndarray]:
        queried.extend(row.id for row in rows)
        return [np.eye(len(row.candidates))[int(row.id) % 2] for row in rows]

    shares = survival(many, Believer(ask)).stated
    assert [int(share.argmax()) for share in shares] == [n % 2 for n in range(5)]
    assert all(queried.count(str(n)) == COPIES + 1 for n in range(5))
