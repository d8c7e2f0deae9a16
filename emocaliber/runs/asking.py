"""Asking the model of the stage before, in batches: its probability of each label, and what answers it draws.

Not what is learned from it (see teaching). What a journal holds is not asked again: after a stop the asking goes on
where it was, and a training that was stopped later does not ask at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, image_hash, load_image, read_image_bytes
from emocaliber.core.prompting import load_template
from emocaliber.core.resolution import SHOWN_PIXELS
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import STOP, Request, Response
from emocaliber.generation.journal import Journal, content_key
from emocaliber.generation.predict import normalised
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.reading import read_response
from emocaliber.runs.processes import asked_by_all

Floats = npt.NDArray[np.float64]

LABEL = "label"
CHUNK = 512  # pictures decoded, and answers written to the disk, at a time
DRAWS = 8  # answers drawn for each picture where their agreement is the target


def asked_journal(out: Path) -> Journal:
    """This process's journal of what it asks for a stage in `out`."""
    return Journal(out / f"asked-{PartialState().process_index}.jsonl")


def forget_asked(out: Path) -> None:
    """Remove the journals of a stage that has learned."""
    for one in out.glob("asked-*.jsonl"):
        one.unlink()


def ask_labels(samples: Sequence[Sample], engine: TransformersEngine, journal: Journal | None = None) -> list[Floats]:
    """The engine's distribution over each sample's candidates at the answer's place: one forward pass, nothing written.

    Raises UserError naming the sample whose picture cannot be used.
    """
    opening, closing = load_template(LABEL).tags("label")
    found: list[Floats] = [np.empty(0)] * len(samples)
    for candidates in sorted({sample.candidates for sample in samples}):
        rows = [i for i, sample in enumerate(samples) if sample.candidates == candidates]
        # "joy" must not be credited with "joyful": where one label starts another, the closing tag tells them apart.
        nested = any(a != b and b.startswith(a) for a in candidates for b in candidates)
        options = [c + closing for c in candidates] if nested else list(candidates)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            scores = _scored([samples[i] for i in part], engine, opening, options, journal)
            for i, share in zip(part, normalised(scores), strict=True):
                found[i] = share
    return found


def _scored(
    samples: Sequence[Sample], engine: TransformersEngine, opening: str, options: Sequence[str], journal: Journal | None
) -> Floats:
    """Log-probabilities [samples, options]. A chunk is found as a whole or asked as a whole, so that the batches, and
    with them the last digits, are those of an asking without a stop."""
    keys = [_key(sample, engine, opening, options) for sample in samples] if journal is not None else []
    before = [journal.find(key) for key in keys] if journal is not None else [None]
    if all(before):
        return np.array([one.choices[0] for one in before if one is not None])
    scores = engine.score_continuations([_question(sample) for sample in samples], opening, options)
    if journal is not None:
        told = [
            Response(s.id, "", STOP, choices=(tuple(row),)) for s, row in zip(samples, scores.tolist(), strict=True)
        ]
        journal.append(list(zip(keys, told, strict=True)))
    return scores


def _key(sample: Sample, engine: TransformersEngine, opening: str, options: Sequence[str]) -> str:
    prompt = load_template(LABEL).render(sample.candidates)
    with _naming(sample):
        return content_key(
            "labels", image_hash(read_image_bytes(sample.image)), prompt, opening, options, engine.name, SHOWN_PIXELS
        )


def _question(sample: Sample) -> Request:
    with _naming(sample):
        return Request(sample.id, load_image(sample.image), load_template(LABEL).render(sample.candidates))


@contextmanager
def _naming(sample: Sample) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise UserError(f"{sample.id}: {error}") from error


def agreement(
    samples: Sequence[Sample], engine: TransformersEngine, journal: Journal | None = None
) -> tuple[list[Floats], Floats]:
    """How many of DRAWS drawn answers name each candidate, as shares, and the share of the one named most often.

    The engine must draw (temperature above 0). A draw that cannot be read names none of the candidates; a sample of
    which no draw can be read keeps an even belief and a share of 0.
    """
    template = load_template(LABEL)
    counts = [np.zeros(len(sample.candidates)) for sample in samples]
    for draw in range(DRAWS):

        def answer(part: Sequence[Sample], draw: int = draw) -> list[Response]:
            return list(respond(part, engine, template, draw=draw, journal=journal))

        drawn = asked_by_all(samples, answer)
        for count, sample, response in zip(counts, samples, drawn, strict=True):
            label = read_response(response.text, sample.candidates, finish_reason=response.finish_reason).label
            if label is not None:
                count[sample.candidates.index(label)] += 1
    beliefs = [count / count.sum() if count.any() else np.full(len(count), 1 / len(count)) for count in counts]
    return beliefs, np.array([count.max() / DRAWS for count in counts])
