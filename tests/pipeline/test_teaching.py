"""What a stage learns from is what its recipe names, and its targets are what the model did."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.backbones.tiny import embedded_base
from emocaliber.errors import UserError
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.pipeline.teaching import DRAWS, agreement, samples_of


def test_a_split_may_be_that_of_one_task_alone() -> None:
    chosen = samples_of(["kaomoji", "emoji"], ["unlabelled", "emoji:train"])
    assert {(s.task, s.split) for s in chosen} == {("kaomoji", "unlabelled"), ("emoji", "train")}


def test_a_split_that_nobody_has_is_refused() -> None:
    with pytest.raises(UserError, match="no row belongs to emoji:unlabelled"):
        samples_of(["emoji"], ["emoji:unlabelled"])


@pytest.mark.slow
def test_agreement_is_a_share_of_the_draws_and_the_seed_fixes_it() -> None:
    samples = samples_of(["kaomoji"], ["calibrate"])[:6]

    def drawn() -> tuple[list[np.ndarray], np.ndarray]:
        engine = TransformersEngine(embedded_base(), batch_size=6, max_new_tokens=8, temperature=1.0, seed=3)
        return agreement(samples, engine)

    beliefs, shares = drawn()
    assert np.allclose([belief.sum() for belief in beliefs], 1.0)
    assert np.array_equal(shares * DRAWS, np.round(shares * DRAWS))
    assert ((shares >= 0) & (shares <= 1)).all()
    assert np.array_equal(drawn()[1], shares)
