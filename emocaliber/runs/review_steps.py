"""A review step by step, in sentences: what was promised, which answers were taken, what is to be done next.

for sentence in next_step(review, "labels.csv"): print(sentence)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log
from pathlib import Path

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.evaluation.pac_labels import most_confident_first, plan_review, simulate_reviews
from emocaliber.reading.tables import RECOGNISED, Columns
from emocaliber.runs.review import Phase, Review
from emocaliber.runs.review_answers import read_answers
from emocaliber.runs.review_files import CSV_FILE, STUDIO_FILE, filled_in, write_tasks
from emocaliber.runs.review_journal import UNCLEAR
from emocaliber.runs.review_result import GUARANTEE_TEXT, percent, sentence, write_result
from emocaliber.runs.review_rows import pictures_of, read_rows


def announce(review: Review) -> Iterator[str]:
    """What the review is about, and what it promises."""
    record = review.record
    given = sum(row.truth is not None for row in review.rows.values())
    unreadable = len(review.rows) - given - record.drawable
    more = [f"{given:,} have a label already"] if given else []
    more += [f"{unreadable:,} have no readable answer and are all looked at"] if unreadable else []
    yield f"{len(review.rows):,} rows{''.join(f'; {each}' for each in more)}"
    yield (
        f"Promise: at most {percent(record.error)} of the finished set is wrong, with {percent(record.certainty)}"
        " certainty."
    )
    if record.labelled:
        yield f"The sample: {len(record.sample):,} rows of {record.labelled}, which you drew at random."


def take_answers(review: Review, files: Sequence[Path]) -> Iterator[str]:
    """Take the answers of these files, and what somebody filled in in the folder's own task files, which are then set
    aside. Raises UserError for an answer that is not of this review."""
    given = {file.resolve() for file in files}
    for file in files:
        answers = read_answers(file)
        yield answers.taken(str(file), review.answer(answers, str(file), answers.places))
    for file, answers in filled_in(review.folder).items():
        if file.resolve() not in given:
            yield answers.taken(str(file), review.answer(answers, str(file), answers.places))
        place = _free(file)
        file.rename(place)
        yield f"{file.name} as you filled it in is kept as {place.name}"


def _free(file: Path) -> Path:
    number = 1
    while (place := file.with_name(f"{file.stem}-answered-{number}{file.suffix}")).exists():
        number += 1
    return place


def next_step(review: Review, set_name: str) -> Iterator[str]:
    """Write the next tasks, or the finished set, and say so."""
    folder, record = review.folder, review.record
    if review.phase is Phase.DONE:
        facts = write_result(review, set_name)
        write_tasks(folder, [], {}, UNCLEAR)
        yield sentence(facts)
        yield f"The finished set: {folder / set_name}; its guarantee: {folder / GUARANTEE_TEXT}"
        return
    queue = review.queue()
    write_tasks(folder, queue, pictures_of(record.pictures), UNCLEAR)
    if review.phase is Phase.SAMPLE:
        rest = max(0, record.expected_work - len(record.sample))
        yield (
            f"Step 1 of 2: label the {len(queue):,} rows that are left of {len(record.sample):,} drawn at random. About"
            f" {rest:,} more follow if the confidences are worth what they say ({record.expected_work:,} of"
            f" {len(review.rows):,} in all)."
        )
    else:
        kept = sum(keep and name not in review.answers for name, keep in review.kept().items())
        if record.allowed < 0:
            least = ceil(log(1 - record.certainty) / log(1 - record.error))
            yield (
                f"A sample of {len(record.sample):,} vouches for no label at this promise, whatever it shows; about"
                f" {least:,} are the fewest that could."
            )
        yield (
            f"Step 2 of 2: label the {len(queue):,} rows that are left. The sample vouches for the model's labels of"
            f" {kept:,} others."
        )
    yield (
        f"Fill in the column answer of {folder / CSV_FILE}, import {folder / STUDIO_FILE} into Label Studio, or use"
        f" `emocaliber review {folder} --page`. Then `emocaliber review {folder}` goes on; with"
        " --answers FILE it takes an export."
    )


def simulate(
    predictions: Path,
    error: float,
    certainty: float,
    sample: int | None,
    draws: int,
    seed: int,
    columns: Columns = RECOGNISED,
) -> Iterator[str]:
    """What a review of labelled predictions would have come to. Raises UserError where a row has no label."""
    rows = list(read_rows(predictions, columns).values())
    if unlabelled := next((row.id for row in rows if row.truth is None), None):
        raise UserError(f"{predictions}: row {unlabelled!r} has no label; a simulation needs one in every row")
    candidates = [row for row in rows if row.predicted is not None]
    confidence = np.array([-1.0 if row.confidence is None else row.confidence for row in candidates])
    settled = len(rows) - len(candidates)
    plan = plan_review(confidence.clip(0), error=error, certainty=certainty, settled=settled, sample=sample)
    wrong = np.array([row.predicted != row.truth for row in candidates], np.bool_)
    tie_break = [np.nan if row.probability is None else row.probability for row in candidates]
    order = most_confident_first(confidence, seed, tie_break)
    looked_at, left = simulate_reviews(wrong[order], plan, draws, seed, settled)
    low, middle, high = np.quantile(looked_at, [0.05, 0.5, 0.95]).astype(int)
    broken = int((left > plan.left).sum())
    yield (
        f"{len(rows):,} rows; the model is wrong on {percent((wrong.sum() + settled) / len(rows))} of them. In each"
        f" review {plan.sample:,} rows are drawn at random."
    )
    yield (
        f"To be at most {percent(error)} wrong with {percent(certainty)} certainty, people look at {middle:,} rows"
        f" ({percent(middle / len(rows))}; {low:,} to {high:,} in nine of ten reviews), and leave"
        f" {percent(float(np.mean(left)) / len(rows))} wrong on average."
    )
    yield (
        f"Of {draws:,} simulated reviews {broken} left more than {percent(error)} wrong; the promise allows"
        f" {percent(1 - certainty)} of them."
    )
