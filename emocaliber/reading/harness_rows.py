"""Common handling of evaluation harnesses' files: items with a response, a true label and, optionally, choices.

The labels to choose from are the item's own; else those given by the user; else all true labels in the file, with a
note. Responses are parsed as everywhere else; if the harness shows its choices as "A) joy", letters are understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source
from emocaliber.reading.reader import read_response

CANDIDATES = ("candidates", "labels", "choices", "options")
"""The keys under which harness data lists the labels to choose from."""
SHUFFLED = "shuffle when the dataset is read (shuffle_choices)"
"""What to do instead of shuffling an item's choices when it is asked."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """One response in a harness's file. `where` is its location for errors; `choices` is () if the item has none;
    `lettered` says that the model saw them with letters; `finish_reason` is as for `read_response`."""

    where: str
    id: str
    task: str
    method: str
    truth: str
    response: str
    choices: tuple[str, ...] = ()
    lettered: bool = False
    finish_reason: str | None = None
    group: str = ""
    cluster: str = ""
    votes: Mapping[str, int] | None = None


def rows_of(items: Iterable[Item], labels: Sequence[str], note: Note) -> Iterator[Prediction]:
    """A row for every item, in order. Raises UserError for a true label that is not among the labels."""
    kept = list(items)
    shared = tuple(labels)
    if not shared and (bare := [item for item in kept if not item.choices]):
        shared = tuple(dict.fromkeys(item.truth for item in bare))
        if len(shared) < 2:
            raise UserError(
                f"{bare[0].where}: nothing says which labels there are to choose from; name them: --labels joy,fear,..."
            )
        note(
            f"labels to choose from: the {len(shared)} that are true somewhere ({', '.join(shared)}); or name --labels"
        )
    for item in kept:
        yield row_of(item if item.choices else replace(item, choices=shared))


def row_of(item: Item) -> Prediction:
    """The row of an item with choices. Raises UserError if its true label is not one of them."""
    truth = true_label(item.truth, item.choices, item.where, lettered=item.lettered)
    shown = item.choices
    if item.lettered and len(shown) <= len(ascii_uppercase):
        shown = tuple(f"{letter}) {name}" for letter, name in zip(ascii_uppercase, shown, strict=False))
    reading = read_response(item.response, shown, finish_reason=item.finish_reason)
    plain = dict(zip(shown, item.choices, strict=True))
    shares = None if reading.distribution is None else {plain[name]: p for name, p in reading.distribution.items()}
    return Prediction(
        item.id,
        item.task,
        item.group,
        item.cluster or item.id,
        truth,
        None if reading.label is None else plain[reading.label],
        reading.confidence,
        reading.state,
        Source.VERBALIZED,
        item.method,
        votes=dict(item.votes) if item.votes else None,
        distribution=shares,
    )


def true_label(stated: str, choices: Sequence[str], where: str, *, lettered: bool) -> str:
    """The choice that a true label refers to, by its text (case-insensitive) or, for lettered choices, by its"
    " letter."""
    folded = {name.strip().casefold(): name for name in choices}
    if (name := folded.get(stated.strip().casefold())) is not None:
        return name
    letter = stated.strip().upper()
    if lettered and len(letter) == 1 and letter in ascii_uppercase[: len(choices)]:
        return choices[ascii_uppercase.index(letter)]
    raise UserError(
        f"{where}: the true label {stated!r} is not among {list(choices)}; --labels names those of all rows"
    )


def candidates_in(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels to choose from in an item's own data: a list of texts, or comma-separated text, under one of
    CANDIDATES; () if there is none."""
    for key in CANDIDATES:
        value = data.get(key)
        if isinstance(value, Mapping):  # ARC's form: texts and their letters
            value = value.get("text")
        if isinstance(value, str) and "," in value:
            value = [name.strip() for name in value.split(",")]
        if isinstance(value, list | tuple) and len(value) > 1 and all(isinstance(name, str) for name in value):
            return tuple(value)
    return ()


def votes_in(data: Mapping[str, Any]) -> dict[str, int] | None:
    """Rater counts by label under `votes`: a mapping, or a list of objects with a label and a count; None if absent."""
    votes = data.get("votes")
    if isinstance(votes, list) and all(isinstance(vote, Mapping) and {"label", "count"} <= set(vote) for vote in votes):
        votes = {vote["label"]: vote["count"] for vote in votes}
    if not isinstance(votes, Mapping):
        return None
    counts = {str(name): count for name, count in votes.items() if isinstance(count, int) and count > 0}
    return counts or None
