"""What each stage learns from: labels, the model's own calibrated probability, its own answers and whether they were
right.

Not the asking (see asking) and not a trainer: `emocaliber.stages` trains on what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emocaliber.calibration.maps import fit_temperature, tempered
from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import FILES, load
from emocaliber.data.parquet import read_samples
from emocaliber.generation.journal import Journal
from emocaliber.generation.predict import normalised
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.reading import read_response
from emocaliber.runs.asking import agreement, ask_labels
from emocaliber.runs.degraded import survival
from emocaliber.runs.processes import asked_by_all
from emocaliber.stages.calibrate.split import held_out_clusters
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.targets import distilled, distributed, nearest_level, rated, spread_over_levels, voted

Floats = npt.NDArray[np.float64]
Ask = Callable[[Sequence[Sample]], list[Floats]]
"""From samples to a distribution over the candidates of each."""


def samples_of(data: Sequence[str], splits: Sequence[str]) -> list[Sample]:
    """The rows of embedded tasks or Parquet files that belong to the splits; "emoji:train" is that split of one task.

    Raises UserError where there is none.
    """
    found = []
    for name in data:
        rows = load(name) if name in FILES else read_samples(Path(name))
        found += [row for row in rows if row.split in splits or f"{row.task}:{row.split}" in splits]
    if not found:
        raise UserError(f"{', '.join(data)}: no row belongs to {', '.join(splits)}; check the keys 'data' and 'splits'")
    return found


def labelled(samples: Sequence[Sample], template: Template, *, votes: bool = False) -> list[Lesson]:
    """Stage 1: the label as it stands, or with `votes` the raters' distribution of rows that have votes."""
    if missing := next((s.id for s in samples if s.label is None), None):
        raise UserError(f"{missing}: stage 1 needs a label for every row; leave the split 'unlabelled' out")
    if votes and not any(map(rated, samples)):
        raise UserError("target votes: no row has rater votes; take the key 'target' out to learn from the labels")
    return [
        *voted([s for s in samples if votes and rated(s)], template, 0.0),
        *(Lesson(s, template.write(label=s.label)) for s in samples if not (votes and rated(s))),
    ]


def temperatures_of(samples: Sequence[Sample], shares: Sequence[Floats]) -> dict[str, float]:
    """One temperature per task, fitted on labelled samples. Raises UserError naming a task that has none."""
    fitted = {}
    for task in sorted({s.task for s in samples}):
        rows = [i for i, s in enumerate(samples) if s.task == task and s.label is not None]
        if not rows:
            raise UserError(f"task {task}: no calibration row has a label; a temperature cannot be fitted without one")
        truth = np.array([samples[i].candidates.index(str(samples[i].label)) for i in rows])
        fitted[task] = fit_temperature(np.stack([shares[i] for i in rows]), truth)
    return fitted


def verbalized(
    recipe: Recipe, samples: Sequence[Sample], engine: TransformersEngine, journal: Journal | None = None
) -> tuple[list[Lesson], dict[str, float]]:
    """Stage 2: lessons that say the target confidence, and the temperatures it was scaled with (own-probability)."""
    template = load_template(recipe.template)

    def ask(rows: Sequence[Sample]) -> list[Floats]:
        return asked_by_all(rows, lambda part: ask_labels(part, engine, journal))

    if recipe.target == "votes":
        return voted([s for s in samples if rated(s)], template, recipe.spread), {}
    if recipe.target == "agreement":
        shares, agreeing = agreement(samples, engine, journal)
        if "distribution" in template.fields:
            return distributed(samples, shares, template), {}
        return distilled(samples, shares, agreeing, template, recipe.spread), {}
    if recipe.target == "degraded":
        beliefs, shares = survival(samples, ask)
        if "distribution" in template.fields:
            return distributed(samples, shares, template), {}
        surviving = np.array([share[belief.argmax()] for share, belief in zip(shares, beliefs, strict=True)])
        return distilled(samples, beliefs, surviving, template, recipe.spread), {}
    return scaled(recipe, samples, ask)


def scaled(recipe: Recipe, samples: Sequence[Sample], ask: Ask) -> tuple[list[Lesson], dict[str, float]]:
    """Stage 2: lessons that say the likeliest label with its probability (the whole distribution, where the template
    states one) of what `ask` believes, scaled by one temperature a task that is fitted on the calibration split; and
    the temperatures."""
    held = samples_of(recipe.data, ["calibrate"])
    temperatures = temperatures_of(held, ask(held))
    beliefs = ask(samples)
    calibrated = [tempered(share[None], temperatures[s.task])[0] for s, share in zip(samples, beliefs, strict=True)]
    template = load_template(recipe.template)
    if "distribution" in template.fields:
        return distributed(samples, calibrated, template), temperatures
    confidences = np.array([float(share.max()) for share in calibrated])
    return distilled(samples, beliefs, confidences, template, recipe.spread), temperatures


def own_answers(
    samples: Sequence[Sample],
    engine: TransformersEngine,
    template: Template,
    spread: float,
    journal: Journal | None = None,
) -> list[Lesson]:
    """Stage 3: the model's own answers, what it believes as anchors, and whether each was right.

    The anchor of the confidence is the probability of the stated label, temperature-scaled on the labelled samples (one
    number a task), spread over the levels: the model's label probability knows more than what it says. Of a sample
    without a label nobody knows whether the answer is right: that probability stands for it. An answer that cannot be
    read teaches nothing and is left out; raises UserError where none can.
    """
    read = []
    answered = asked_by_all(samples, lambda part: list(respond(part, engine, template, journal=journal)))
    for sample, response in zip(samples, answered, strict=True):
        reading = read_response(response.text, sample.candidates, finish_reason=response.finish_reason)
        if reading.label is None or reading.confidence is None or None in response.choices:
            continue
        read.append((sample, reading.label, reading.confidence, normalised(response.choices[0] or ())))
    if not read:
        raise UserError("the stage-2 model gave no readable answer to learn from; train stage 2 for longer")
    temperatures = temperatures_of([sample for sample, *_ in read], [belief for *_, belief in read])
    return [_own(*one, temperatures, template, spread) for one in read]


def _own(
    sample: Sample,
    label: str,
    stated: float,
    belief: Floats,
    temperatures: dict[str, float],
    template: Template,
    spread: float,
) -> Lesson:
    believed = float(tempered(belief[None], temperatures[sample.task])[0, sample.candidates.index(label)])
    return Lesson(
        sample,
        template.write(label=label, confidence=nearest_level(stated)),
        label_target=tuple(belief.tolist()),
        level_target=spread_over_levels(believed, spread),
        correct=believed if sample.label is None else float(label == sample.label),
    )


def held_out_split(
    lessons: Sequence[Lesson], samples: Sequence[Sample], share: float, seed: int
) -> tuple[list[Lesson], list[Lesson]]:
    """Lessons to train on and to select on, whole clusters on one side; the seed and the labelled samples decide.

    What has no label is never held out: it could not judge.
    """
    kept = held_out_clusters((sample.cluster for sample in samples if sample.label is not None), share, seed)
    fit = [one for one in lessons if one.sample.cluster not in kept]
    return fit, [one for one in lessons if one.sample.cluster in kept]
