"""Prediction sets and doubts on the rows that a run has just written: every read-out of a response gets the same.

annotate(outcome.folder, sources, sets, doubt, images)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from emocaliber.calibration.doubt import DoubtMap
from emocaliber.calibration.sets import SetMap
from emocaliber.core.predictions import Prediction, Source, read_predictions, write_predictions
from emocaliber.core.samples import ImageSource
from emocaliber.generation.readouts import FILES
from emocaliber.runs.doubt import Looking

CHUNK = 1000
FIELDS = ("prediction_set", "set_coverage", "set_holds", "doubt_people", "doubt_unfamiliar", "reason")


def annotate(
    folder: Path,
    sources: Sequence[Source],
    sets: SetMap | None,
    doubt: DoubtMap | None,
    images: Iterable[ImageSource],
) -> list[str]:
    """Rewrite the prediction files of a run with prediction sets and doubts; returns notes on what could not be added.
    `images` are those of its rows, in order; they are read only for the doubt about unfamiliar pictures."""
    notes = []
    if sets is not None and sets.source not in sources:
        notes.append(f"no sets: they were fitted on {sets.source} rows, and this run has {', '.join(sources)}")
        sets = None
    base = sets.source if sets is not None else Source.LOGPROB if Source.LOGPROB in sources else sources[0]
    annotations = list(_annotated(read_predictions(folder / FILES[base], unlabelled=True), sets, doubt, iter(images)))
    for source in sources:
        rows = read_predictions(folder / FILES[source], unlabelled=True)
        write_predictions(
            folder / FILES[source],
            [replace(row, **values) for row, values in zip(rows, annotations, strict=True)],
        )
    if sets is not None and (without := sum(values["prediction_set"] is None for values in annotations)):
        notes.append(f"{without:,} of {len(annotations):,} rows have no set: none was fitted for their labels")
    if doubt is not None and doubt.familiar is None:
        notes.append("nothing is said about unfamiliar pictures: the map of doubts was fitted without pictures")
    return notes


def _annotated(
    rows: Iterator[Prediction], sets: SetMap | None, doubt: DoubtMap | None, images: Iterator[ImageSource]
) -> Iterator[dict[str, object]]:
    look = None if doubt is None or doubt.familiar is None else Looking(doubt.familiar.model)
    while chunk := list(islice(rows, CHUNK)):
        made = chunk if sets is None else sets.apply(chunk, by_labels=True)
        if doubt is not None:
            made = doubt.apply(made, None if look is None else look.features(list(islice(images, len(chunk)))))
        for row in made:
            yield {name: getattr(row, name) for name in FIELDS}
