"""Self-consistency: the same question drawn K times; the label named most often, and the share of draws that named it.

Not a stated confidence: a baseline for it, at K times the cost (Wang et al. 2023; as a confidence: Xiong et al.
2024). A draw in which no label could be read counts as naming none, so silence never raises the share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.generation.records import Record
from emocaliber.reading import Reading, read_response


def consistency_rows(draws: Sequence[Iterable[Record]], method: str) -> Iterator[Prediction]:
    """One row for each sample, from K streams of records in the same order. Raises ValueError where ids differ."""
    for records in zip(*draws, strict=True):
        if len({record.id for record in records}) > 1:
            raise ValueError(f"the draws for {records[0].id} do not stand in the same row")
        yield _row(records, method)


def _row(records: Sequence[Record], method: str) -> Prediction:
    sample = records[0].sample
    if sample.label is None:
        raise ValueError(f"sample {sample.id} has no label; a prediction row needs one to be compared with")
    readings = [_read(record) for record in records]
    named = Counter(reading.label for reading in readings if reading.label is not None)
    shares = {label: count / len(records) for label, count in named.items()}
    top = [label for label, count in named.items() if count == max(named.values())]
    label = min(top, key=sample.candidates.index) if top else None
    return Prediction(
        sample.id, sample.task, sample.group, sample.cluster, sample.label, label, shares.get(label or ""),
        State.OK if label else readings[0].state, Source.SAMPLED, method, sample.votes, shares or None,
        raters=sample.raters, second_votes=sample.second_votes,
    )  # fmt: skip


def _read(record: Record) -> Reading:
    response = record.response
    return read_response(response.text, record.candidates, finish_reason=response.finish_reason)
