"""Synthetic, seeded predictions and a run made of them: what the tests of the reports are fed."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.evaluation.compute import DEFAULTS
from emocaliber.evaluation.scorecard import Estimate, Scorecard
from emocaliber.reporting.run_summary import Criterion, Roles, RunSummary, StageLog, choose_examples

LABELS = ("happy", "sad", "angry", "shy")
FAST = replace(DEFAULTS, replicates=60)
STAGE_1, STAGE_2 = "stage 1, label probability", "stage 2, stated"
STATED, EXPECTED = "stage 3, stated", "stage 3, mean over levels"
PROBABILITY, TEMPERATURE, ISOTONIC = "label probability", "temperature-scaled", "isotonic map"


def predictions(
    method: str,
    n: int = 240,
    *,
    seed: int = 0,
    sharpness: float = 1.0,
    step: float = 0.05,
    source: Source = Source.VERBALIZED,
    unusable: float = 0.0,
    votes: bool = False,
) -> list[Prediction]:
    """Rows of two tasks and two groups. Whether a row is right follows a hidden chance; the confidence is that
    chance to the power `sharpness` (1: calibrated), rounded to `step`; a share `unusable` has none."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed + 1)
    chance = shared.beta(2.2, 1.3, n)
    right = shared.random(n) < chance
    truth = shared.integers(len(LABELS), size=n)
    other = (truth + shared.integers(1, len(LABELS), n)) % len(LABELS)
    stated = np.clip(np.round(np.round(chance**sharpness / step) * step, 6), 0, 1)
    silent = own.random(n) < unusable
    people = shared.multinomial(10, np.full(len(LABELS), 0.25), n)
    rows = []
    for index in range(n):
        label = LABELS[truth[index] if right[index] else other[index]]
        opinions = {name: int(count) for name, count in zip(LABELS, people[index], strict=True)}
        rows.append(
            Prediction(
                id=f"{index:04d}",
                task="emoji" if index % 4 == 0 else "kaomoji",
                group="held-out style" if index % 3 == 0 else "trained styles",
                cluster=f"{index:04d}",
                truth=LABELS[truth[index]],
                predicted=label,
                confidence=None if silent[index] else float(stated[index]),
                state=State.MISSING_CONFIDENCE if silent[index] else State.OK,
                source=source,
                method=method,
                votes=opinions if votes and index % 4 == 0 else None,
            )
        )
    return rows


def picture(name: str, width: int = 280, height: int = 28) -> bytes:
    """A small PNG that differs by name."""
    shade = int(name) % 200 if name.isdigit() else 90
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[8:20, 40 : 40 + shade] = (30, 30, 30)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def run_rows(n: int = 240) -> dict[str, list[Prediction]]:
    """The methods of a run of three stages."""
    return {
        STAGE_1: predictions(STAGE_1, n, sharpness=0.7, step=0.0001, source=Source.LOGPROB),
        STAGE_2: predictions(STAGE_2, n, sharpness=0.4, unusable=0.02),
        STATED: predictions(STATED, n, sharpness=1.05, votes=True),
        EXPECTED: predictions(EXPECTED, n, step=0.001, source=Source.EXPECTED),
        PROBABILITY: predictions(PROBABILITY, n, sharpness=0.6, step=0.0001, source=Source.LOGPROB),
        TEMPERATURE: predictions(TEMPERATURE, n, step=0.0001, source=Source.POSTHOC),
        ISOTONIC: predictions(ISOTONIC, n, step=0.1, source=Source.POSTHOC),
    }


def stage_log(name: str, held_out: int) -> StageLog:
    """A stage with a falling loss; with held-out samples, their Brier score is least at step 200."""
    curves = {"loss": [(step, 2.3 * 0.985**step + 0.4) for step in range(0, 360, 20)]}
    if held_out:
        curves["held-out Brier"] = [(step, 0.2 + 1e-6 * (step - 200) ** 2) for step in range(0, 360, 10)]
    return StageLog(
        name,
        data="7,582 labelled images of kaomoji and emoji",
        n_train=7582,
        n_held_out=held_out,
        steps=360,
        seconds=182.5,
        trained_parameters=201_728,
        sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        recipe={"learning_rate": "0.002", "num_train_epochs": "3", **({"method": "proper"} if held_out else {})},
        curves=curves,
        selected_step=200 if held_out else None,
    )


def run_of(card: Scorecard, rows: list[Prediction], response: Callable[[str], str]) -> RunSummary:
    """A run whose values are those of `card`."""
    stages = [stage_log(name, held) for name, held in (("1 label", 0), ("2 verbalize", 0), ("3 calibrate", 440))]
    criteria = [
        Criterion(
            "Accuracy of stage 1, kaomoji, trained styles", "at least 0.62", Estimate(0.641, 0.62, 0.66), met=True
        ),
        Criterion(
            "ECE of the stated confidence", "at most 0.05", Estimate(0.071, 0.05, 0.09), met=False, note="n = 240"
        ),
    ]
    return RunSummary(
        "Does the tiny model know how sure it is?",
        card,
        Roles(STATED, STAGE_1, STAGE_2, EXPECTED, PROBABILITY, [TEMPERATURE, ISOTONIC]),
        stages,
        choose_examples(rows, picture, response, each=4),
        criteria,
        {
            "emocaliber": "0.1.0",
            "torch": "2.13.0",
            "machine": "2 CPU cores",
            "kaomoji.parquet": "sha256 0123456789",
        },
    )
