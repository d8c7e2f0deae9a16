"""The teacher of a stage: a transformers engine with a journal, its work shared out among the processes.

What a journal holds is not asked again: after a stop the querying resumes, with another number of processes too, and a
training that was stopped later does not ask at all.

    with open_teacher(recipe, adapter, out) as teacher:
        teacher.label_probabilities(samples)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, ImageError, image_hash, load_image, read_image_bytes
from emocaliber.core.predictions import Prediction, Source
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import STOP, Engine, Request, Response
from emocaliber.generation.journal import Journal, content_key
from emocaliber.generation.readouts import normalised, rows_of
from emocaliber.generation.respond import respond
from emocaliber.generation.signals import SignalsEngine
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import model_folder, read_question
from emocaliber.models.thinking import switch_thinking
from emocaliber.reading import read_response
from emocaliber.stages.fast.feature_cache import use_kept_features
from emocaliber.stages.launch import distributed_map, processes, rank
from emocaliber.stages.loading import limit_pixels, missing_model
from emocaliber.stages.profiling import ASKING, part
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.teacher import LABEL, Answer, Floats

CHUNK = 512  # pictures decoded, and answers written to the disk, at a time
JOURNALS = "asked-*.jsonl"


@contextmanager
def open_teacher(recipe: Recipe, adapter: Path | None, out: Path) -> Iterator[EngineTeacher]:
    """The model of the stage before, on this process's device, seeing pictures as large as the learner does.

    What its vision tower makes of them is kept in `out` for the learner, where that is the same tower. A teacher lives
    no longer than the querying: beside the model that learns from it, it would take its memory twice. On a CPU too it
    answers in bfloat16 where the recipe trains in it. Raises UserError where it cannot be loaded.
    """
    model, question = model_folder(recipe.model), question_to_ask(recipe, adapter)
    try:
        engine = TransformersEngine(
            model,
            adapter=adapter,
            device=str(PartialState().device),
            dtype=torch.bfloat16 if recipe.trainer.get("bf16") else None,
            batch_size=recipe.ask_batch_size,
            max_new_tokens=recipe.answer_tokens,
            temperature=1.0 if recipe.stage == "verbalize" and recipe.target == "agreement" else 0.0,
            seed=recipe.seed,
        )
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    if recipe.max_pixels is not None:
        limit_pixels(engine.processor, recipe.max_pixels)
    switch_thinking(engine.processor, recipe.thinking)
    reader = use_kept_features(recipe, engine.model, engine.processor, out)
    engine.processor = reader or engine.processor
    try:
        with part(ASKING), _journal(out) as journal:
            alone = processes() == 1
            size = CHUNK if alone else recipe.ask_batch_size
            yield EngineTeacher(engine, journal, max_pixels=recipe.shown_pixels, unit=size, question=question)
        if reader is not None:
            reader.store.seal()
    finally:
        del reader
        engine.close()


def question_to_ask(recipe: Recipe, adapter: Path | None) -> Template:
    """What the model of the stage before is asked about labels.

    The template `label`; where the recipe's own reasons, the question that the model was trained on, which must reason
    too. A model of which nothing is known is asked as the recipe asks.
    """
    template = load_template(recipe.template)
    if not template.reasons:
        return load_template(LABEL)
    learned = read_question(adapter or model_folder(recipe.model))
    if learned is not None and not learned.template.reasons:
        raise UserError(
            f"{recipe.path}: template: {template.name} reasons before it answers, and {adapter or recipe.model} was"
            f" taught to answer at once ({learned.prompt.name}); train the stage before with a template that reasons,"
            " such as reasoning-label"
        )
    return template if learned is None else learned.template


def _journal(out: Path) -> Journal:
    """This process's journal of what it asks for a stage in `out`; what others wrote there is found, too."""
    own = out / JOURNALS.replace("*", str(rank()))
    PartialState().wait_for_everyone()
    return Journal(own, beside=sorted(set(out.glob(JOURNALS)) - {own}))


def forget_answers(out: Path) -> None:
    """Remove the journals of a stage that has learned."""
    for journal in out.glob(JOURNALS):
        journal.unlink()


class EngineTeacher:
    """A stage's Teacher (emocaliber.stages.teacher) around an engine. One process asks `unit` samples at a time."""

    def __init__(
        self,
        engine: TransformersEngine,
        journal: Journal | None = None,
        *,
        max_pixels: int = SHOWN_PIXELS,
        unit: int = CHUNK,
        question: Template | None = None,
    ) -> None:
        self.engine, self.journal, self.max_pixels, self.unit = engine, journal, max_pixels, unit
        self.question = question or load_template(LABEL)

    def label_probabilities(self, samples: Sequence[Sample]) -> list[Floats]:
        """The distribution over each sample's candidates at the answer's place: one forward pass, nothing written.

        Raises UserError naming the sample whose picture cannot be used.
        """
        units = []
        for candidates in sorted({sample.candidates for sample in samples}):
            rows = [i for i, sample in enumerate(samples) if sample.candidates == candidates]
            units += [rows[start : start + self.unit] for start in range(0, len(rows), self.unit)]
        scores = distributed_map(units, lambda unit: self._scores([samples[i] for i in unit]))
        beliefs: list[Floats] = [np.empty(0)] * len(samples)
        for unit, scored in zip(units, scores, strict=True):
            for i, share in zip(unit, normalised(scored), strict=True):
                beliefs[i] = share
        return beliefs

    def answers(self, samples: Sequence[Sample], template: Template, draw: int = 0) -> list[Answer]:
        """One answer to each sample, in order, read by the parser; `draw` numbers those of an engine that samples."""
        responses = self._responses(self.engine, samples, template, draw)
        return [_read(sample, response, template) for sample, response in zip(samples, responses, strict=True)]

    def predictions(self, samples: Sequence[Sample], signals: Sequence[str]) -> list[Prediction]:
        """The likeliest label of each sample, its distribution, and the signals about it, in order."""
        template, engine = load_template(LABEL), self.engine
        asking = SignalsEngine(engine, signals, template, states=engine.hidden_states)
        responses = self._responses(asking, samples, template, 0)
        return [
            rows_of(sample, response, template, method="teacher")[Source.LOGPROB]
            for sample, response in zip(samples, responses, strict=True)
        ]

    def _responses(self, engine: Engine, samples: Sequence[Sample], template: Template, draw: int) -> list[Response]:
        size = len(samples) if processes() == 1 else 2 * self.unit
        units = [samples[start : start + size] for start in range(0, len(samples), size)] if samples else []

        def answer(unit: Sequence[Sample]) -> list[Response]:
            return list(
                respond(unit, engine, template, journal=self.journal, draw=draw, max_pixels=self.max_pixels)
            )  # fmt: skip

        return [response for part in distributed_map(units, answer) for response in part]

    def _scores(self, samples: Sequence[Sample]) -> Floats:
        """Log-probabilities [samples, candidates]. A unit is found as a whole or asked as a whole, so that the batches,
        and with them the last digits, are those of an asking without a stop."""
        opening, closing = load_template(LABEL).tags("label")
        candidates = samples[0].candidates
        # "joy" must not be credited with "joyful": where one label starts another, the closing tag tells them apart.
        nested = any(a != b and b.startswith(a) for a in candidates for b in candidates)
        options = [c + closing for c in candidates] if nested else list(candidates)
        if self.journal is None:
            return self.engine.score_continuations([self._question(s) for s in samples], opening, options)
        keys = [self._key(sample, opening, options) for sample in samples]
        before = [self.journal.find(key) for key in keys]
        if all(before):
            return np.array([response.choices[0] for response in before if response is not None])
        scores = self.engine.score_continuations([self._question(s) for s in samples], opening, options)
        responses = [
            Response(s.id, "", STOP, choices=(tuple(row),)) for s, row in zip(samples, scores.tolist(), strict=True)
        ]
        self.journal.append(list(zip(keys, responses, strict=True)))
        return scores

    def _key(self, sample: Sample, opening: str, options: Sequence[str]) -> str:
        prompt = load_template(LABEL).render(sample.candidates, question=sample.question)
        with _naming(sample):
            picture = image_hash(read_image_bytes(sample.image))
        return content_key("labels", picture, prompt, opening, options, self.engine.name, self.max_pixels)

    def _question(self, sample: Sample) -> Request:
        with _naming(sample):
            picture = load_image(sample.image, self.max_pixels)
        return Request(sample.id, picture, load_template(LABEL).render(sample.candidates, question=sample.question))


def _read(sample: Sample, response: Response, template: Template) -> Answer:
    reading = read_response(response.text, sample.candidates, finish_reason=response.finish_reason)
    places = [choice for choice in response.choices if choice is not None]
    belief = normalised(places[0]) if places and len(places) == len(response.choices) else None
    return Answer(reading.label, reading.confidence, belief, _reasoning(response.text, template))


def _reasoning(text: str, template: Template) -> str | None:
    """What stands between the template's own tags, so that writing it again gives the same text."""
    if not template.reasons:
        return None
    opening, closing = template.tags("reasoning")
    reasoning, closed, _ = text.partition(opening)[2].partition(closing)
    return reasoning.strip() if closed else None


@contextmanager
def _naming(sample: Sample) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise UserError(f"{sample.id}: {error}") from error
