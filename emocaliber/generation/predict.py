"""From responses to prediction rows: what was stated, and what the same pass knew without saying it.

Not a judge. Rows in = rows out: a broken image, a failed request and an unreadable answer each keep their row and
state.

    engine = TransformersEngine("model", adapter="out/3-calibrate")
    rows = predict(samples, engine, load_template("label-confidence"), method="stage 3")
    rows.verbalized, rows.expected, rows.logprob
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import LEVELS, Template
from emocaliber.core.resolution import SHOWN_PIXELS
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Engine, Response
from emocaliber.generation.respond import chosen_fields, respond
from emocaliber.reading import Reading, read_response


@dataclass(frozen=True)
class Readouts:
    """Three ways to read one pass, each with one row a sample, in the samples' order, and the raw responses.

    `verbalized`: the stated label and confidence. `expected`: the stated label, and the mean of the confidence
    levels under the model's own probabilities. `logprob`: the likeliest label and its share among the candidates.
    The first two are empty where the template states no confidence, the last two where it has no place for one.
    """

    verbalized: list[Prediction]
    expected: list[Prediction]
    logprob: list[Prediction]
    responses: list[Response]


def predict(
    samples: Sequence[Sample],
    engine: Engine,
    template: Template,
    *,
    method: str,
    constrain: bool = False,
    max_pixels: int = SHOWN_PIXELS,
) -> Readouts:
    """Ask the engine about each sample and read its answers; a picture of more than `max_pixels` is made smaller.

    Raises ValueError where a sample has no label.
    """
    responses = respond(samples, engine, template, constrain=constrain, max_pixels=max_pixels)
    return read_out(samples, responses, template, method=method)


def read_out(samples: Sequence[Sample], responses: Iterable[Response], template: Template, *, method: str) -> Readouts:
    """The rows of responses in the samples' order. Raises ValueError where an id differs or a sample has no label."""
    rows = Readouts([], [], [], [])
    lists = {Source.VERBALIZED: rows.verbalized, Source.EXPECTED: rows.expected, Source.LOGPROB: rows.logprob}
    for sample, response in zip(samples, responses, strict=True):
        if sample.id != response.sample_id:
            raise ValueError(f"the response to {response.sample_id} stands where that to {sample.id} belongs")
        rows.responses.append(response)
        read = rows_of(sample, response, template, method=method)
        for source, row in read.items():
            lists[source].append(row)
    return rows


def rows_of(sample: Sample, response: Response, template: Template, *, method: str) -> dict[Source, Prediction]:
    """One response's row for each read-out that the template allows. Raises ValueError where there is no label."""
    seen = _seen(sample, response, chosen_fields(template), method)
    rows = {}
    if "confidence" in template.fields or "distribution" in template.fields:
        rows[Source.VERBALIZED] = seen.verbalized()
    if "confidence" in template.fields:
        rows[Source.EXPECTED] = seen.expected()
    if "label" in template.fields:
        rows[Source.LOGPROB] = seen.logprob()
    return rows


def normalised(log_probabilities: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over the options alone: the softmax of their log-probabilities along the last axis."""
    logs = np.asarray(log_probabilities, dtype=np.float64)
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return shares


@dataclass(frozen=True)
class _Seen:
    """One response beside its sample: its reading, and the shares of candidates and levels if the engine gave them."""

    sample: Sample
    method: str
    reading: Reading
    labels: dict[str, float] | None
    levels: NDArray[np.float64] | None

    def verbalized(self) -> Prediction:
        reading = self.reading
        return self._row(reading.label, reading.confidence, reading.state, Source.VERBALIZED, reading.distribution)

    def expected(self) -> Prediction:
        label, state = self.reading.label, self.reading.state
        if label is None or self.levels is None:
            return self._row(label, None, State.MISSING_CONFIDENCE if state == State.OK else state, Source.EXPECTED)
        mean = min(1.0, max(0.0, float(self.levels @ np.array(LEVELS))))
        return self._row(label, mean, State.OK, Source.EXPECTED)

    def logprob(self) -> Prediction:
        state = self.reading.state
        if self.labels is None:
            return self._row(None, None, State.MISSING_LABEL if state == State.OK else state, Source.LOGPROB)
        top = max(self.labels, key=self.labels.__getitem__)
        return self._row(top, self.labels[top], State.OK, Source.LOGPROB, self.labels)

    def _row(
        self,
        label: str | None,
        confidence: float | None,
        state: State,
        source: Source,
        distribution: dict[str, float] | None = None,
    ) -> Prediction:
        sample = self.sample
        if sample.label is None:
            raise ValueError(f"sample {sample.id} has no label; a prediction row needs one to be compared with")
        probability = self.labels.get(label) if self.labels is not None and label is not None else None
        return Prediction(
            sample.id, sample.task, sample.group, sample.cluster, sample.label, label, confidence, state, source,
            self.method, sample.votes, distribution, probability, sample.raters, sample.second_votes,
        )  # fmt: skip


def _seen(sample: Sample, response: Response, fields: Sequence[str], method: str) -> _Seen:
    reading = read_response(response.text, sample.candidates, finish_reason=response.finish_reason)
    logs = dict(zip(fields, response.choices, strict=False))
    labels, levels = (
        None if logs.get(name) is None else normalised(logs[name] or ()) for name in ("label", "confidence")
    )
    named = None if labels is None else dict(zip(sample.candidates, labels.tolist(), strict=True))
    return _Seen(sample, method, reading, named, levels)
