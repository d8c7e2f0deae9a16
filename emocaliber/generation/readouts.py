"""From responses to prediction rows: what the answer states, and the probabilities from the same forward pass.

A Record, one line of a file, is a response with its sample but without the picture, so that it can be parsed again.
Rows in = rows out: a broken image, a failed request and an unreadable answer each keep their row, with a state.

    for record in read_records(Path("out/answers/responses.jsonl")):
        rows = rows_of(record.sample, record.response, template, method="stage 3")
        rows[Source.VERBALIZED], rows[Source.EXPECTED], rows[Source.LOGPROB]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, Source, State, decode_lines, write_predictions
from emocaliber.core.prompting import LEVELS, Template
from emocaliber.core.samples import Ratings, Sample
from emocaliber.generation.engine import Response
from emocaliber.generation.respond import chosen_fields
from emocaliber.reading import Reading, read_response

MANIFEST = "manifest.json"
FILES = {
    Source.VERBALIZED: "predictions.jsonl",
    Source.EXPECTED: "predictions-expected.jsonl",
    Source.LOGPROB: "predictions-logprob.jsonl",
    Source.SAMPLED: "predictions-sampled.jsonl",
}
"""The prediction rows of each read-out, in a run's folder."""
WEIGHTED = "predictions-weighted.jsonl"
"""Rows of confidence-weighted self-consistency, beside the unweighted ones."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line: the sample without its image, the template's hash, and the response.

    `place` is the row's number in the source, from 1, where this is one of several shards; else 0.
    """

    id: str
    task: str
    candidates: tuple[str, ...]
    label: str | None
    split: str
    group: str
    cluster: str
    template: str
    response: Response
    votes: dict[str, int] | None = None
    licence: str = ""
    raters: int | None = None
    second_votes: dict[str, int] | None = None
    place: int = 0

    @classmethod
    def of(cls, sample: Sample, response: Response, template: str, place: int = 0) -> Record:
        """The record of a response to a sample; `template` is the template's hash."""
        described = {name: getattr(sample, name) for name in _SAMPLE_KEYS}
        return cls(template=template, response=response, raters=sample.raters, place=place, **described)

    @property
    def sample(self) -> Sample:
        """The sample, with an empty image."""
        ratings = Ratings("counts", self.raters) if self.raters else None
        return Sample(image=b"", ratings=ratings, **{name: getattr(self, name) for name in _SAMPLE_KEYS})


_SAMPLE_KEYS = ("id", "task", "candidates", "label", "split", "group", "cluster", "votes", "licence", "second_votes")


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write the file atomically."""
    write_atomically(path, (msgspec.json.encode(record) + b"\n" for record in records))


def read_records(path: Path) -> Iterator[Record]:
    """The file's records, one at a time. Raises UserError naming file, line and key."""
    for _, record in decode_lines(path, Record):
        yield record


def sources_of(template: Template) -> list[Source]:
    """The read-outs that answers to a template allow.

    `verbalized`: the stated label and confidence. `expected`: the stated label, and the mean of the confidence levels
    under the model's own probabilities. `logprob`: the likeliest label and its share among the candidates.
    """
    fields = set(template.fields)
    return [
        *([Source.VERBALIZED] if fields & {"confidence", "distribution"} else []),
        *([Source.EXPECTED] if "confidence" in fields else []),
        *([Source.LOGPROB] if "label" in fields else []),
    ]


def responses_file(out: Path, draw: int) -> Path:
    """The file for one draw's responses."""
    return out / ("responses.jsonl" if draw == 0 else f"responses-{draw}.jsonl")


def write_predictions_of(out: Path, template: Template, *, method: str, draws: int) -> None:
    """Read the responses under `out` again and write the prediction files that the template allows."""
    for source in sources_of(template):
        rows = (
            rows_of(record.sample, record.response, template, method=method)[source]
            for record in read_records(responses_file(out, 0))
        )
        write_predictions(out / FILES[source], rows)
    if draws > 1:
        streams = [read_records(responses_file(out, draw)) for draw in range(draws)]
        write_predictions(out / FILES[Source.SAMPLED], consistency_rows(streams, method))
    if draws > 1 and Source.VERBALIZED in sources_of(template):
        streams = [read_records(responses_file(out, draw)) for draw in range(draws)]
        write_predictions(out / WEIGHTED, consistency_rows(streams, method, weighted=True))


def rows_of(sample: Sample, response: Response, template: Template, *, method: str) -> dict[Source, Prediction]:
    """One response's row for each read-out that the template allows."""
    read = _read(sample, response, chosen_fields(template), method)
    makers = {Source.VERBALIZED: read.verbalized, Source.EXPECTED: read.expected, Source.LOGPROB: read.logprob}
    return {source: makers[source]() for source in sources_of(template)}


def consistency_rows(draws: Sequence[Iterable[Record]], method: str, *, weighted: bool = False) -> Iterator[Prediction]:
    """Self-consistency: the label that most of K sampled answers name and the share that names it, a row a sample.

    A baseline for stated confidence at K times the cost (Wang et al. 2023; as a confidence: Xiong et al. 2024). With
    `weighted`, an answer's vote is its stated confidence, and the share is of all votes (confidence-weighted majority,
    RLCR v2, arXiv 2507.16806). An answer without a readable label is a vote of weight 1 for no label, so that it never
    raises a share. `draws` are K streams of records in the same order. Raises ValueError where their ids differ.
    """
    for records in zip(*draws, strict=True):
        if len({record.id for record in records}) > 1:
            raise ValueError(f"the draws for {records[0].id} do not stand in the same row")
        yield _consistency(records, method, weighted=weighted)


def _consistency(records: Sequence[Record], method: str, *, weighted: bool) -> Prediction:
    sample = records[0].sample
    readings = [
        read_response(record.response.text, record.candidates, finish_reason=record.response.finish_reason)
        for record in records
    ]
    votes = [1.0 if reading.label is None or not weighted else reading.confidence or 0.0 for reading in readings]
    if not any(vote for reading, vote in zip(readings, votes, strict=True) if reading.label is not None):
        votes = [1.0] * len(votes)  # every stated confidence is 0: weight all alike
    named: defaultdict[str, float] = defaultdict(float)
    for reading, vote in zip(readings, votes, strict=True):
        if reading.label is not None and vote > 0:
            named[reading.label] += vote
    shares = {label: count / sum(votes) for label, count in named.items()}
    top = [label for label, count in named.items() if count == max(named.values())]
    label = min(top, key=sample.candidates.index) if top else None
    return Prediction(
        sample.id, sample.task, sample.group, sample.cluster, sample.label, label, shares.get(label or ""),
        State.OK if label else readings[0].state, Source.SAMPLED, method, sample.votes, shares or None,
        raters=sample.raters, second_votes=sample.second_votes,
        tokens=sum(record.response.tokens for record in records),
        questions=sum(record.response.questions for record in records),
    )  # fmt: skip


def normalised(log_probabilities: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities normalised over the options: the softmax of their log-probabilities along the last axis."""
    logs = np.asarray(log_probabilities, dtype=np.float64)
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return shares


@dataclass(frozen=True)
class _ReadResponse:
    """A response with its sample and reading, and the probabilities of candidates and levels if the engine has them."""

    sample: Sample
    method: str
    response: Response
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
        probability = self.labels.get(label) if self.labels is not None and label is not None else None
        return Prediction(
            sample.id, sample.task, sample.group, sample.cluster, sample.label, label, confidence, state, source,
            self.method, sample.votes, distribution, probability, sample.raters, sample.second_votes,
            signals=self._signals(label),
            hidden=self.response.hidden or None if label == self.reading.label else None,
            tokens=self.response.tokens, questions=self.response.questions,
        )  # fmt: skip

    def _signals(self, label: str | None) -> dict[str, float] | None:
        """The signals about this label and its stated confidence; None for another label than the answer's."""
        if label is None or label != self.reading.label or not self.response.signals:
            return None
        stated = self.reading.confidence
        return self.response.signals | ({} if stated is None else {"stated": stated})


def _read(sample: Sample, response: Response, fields: Sequence[str], method: str) -> _ReadResponse:
    reading = read_response(response.text, sample.candidates, finish_reason=response.finish_reason)
    logs = dict(zip(fields, response.choices, strict=False))
    labels, levels = (
        None if logs.get(name) is None else normalised(logs[name] or ()) for name in ("label", "confidence")
    )
    named = None if labels is None else dict(zip(sample.candidates, labels.tolist(), strict=True))
    return _ReadResponse(sample, method, response, reading, named, levels)
