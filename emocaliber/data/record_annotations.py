"""What a record says about the label of its image: the label itself, the votes of one or two panels, and the rationale.

Each function returns the value, or adds the problems that it finds to the record and returns None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from emocaliber.core.samples import Ratings
from emocaliber.data.labels import class_number, is_missing, is_no_label
from emocaliber.data.rationales import RationaleError, read_rationale
from emocaliber.data.record_fields import Record
from emocaliber.data.rows import LABEL, LABEL_OTHERWISE, NAMES, RATIONALE, Defaults, label_of
from emocaliber.data.votes import UNKNOWN, Votes, VotesError, dominant, read_votes

UNLABELLED_NUMBER = "-1"
"""The class number that Hugging Face datasets uses for an unknown class."""


def read_label(
    record: Record, candidates: tuple[str, ...], votes: Votes | None, ratings: Ratings | None, split: str
) -> tuple[str | None, str]:
    """The candidate that is the label, or None, and where it comes from: "given" or the rule that derived it from the
    votes."""
    name, written = label_of(record.values)
    if record.defaults.class_names and class_number(written) == UNLABELLED_NUMBER:
        written = None
    named = record.defaults.class_names.get(class_number(written) or "")
    written = named if named is not None and is_missing(named) else written
    label = record.defaults.match(written, candidates) if isinstance(written, str | int | float) else None
    stored = record.text("label_rule")
    if label is not None:
        _add_contradiction(record, name, label, candidates)
        return label, stored or "given"
    if is_no_label(written) and stored:
        return None, stored
    if is_no_label(written):
        if votes is not None:
            rule = record.defaults.rule
            return dominant(votes, rule, ratings.raters if ratings else None), rule
        needed = record.defaults.labelled and split != "unlabelled"
        if ratings is None and needed and is_missing(record.values.get("votes")):
            _add_missing_label(record, name, written)
        return None, "given"
    if not isinstance(written, str | int | float):
        record.problem("wrong type", name, f"{written!r} is not a label", "write the label's name")
    else:
        record.unknown_label_problem(name, written, candidates, "label not among candidates")
    return None, "given"


def _add_contradiction(record: Record, name: str, label: str, candidates: Sequence[str]) -> None:
    """Add the problem of another label column that names another of the candidates."""
    for column in (*LABEL, *LABEL_OTHERWISE):
        other = record.values.get(column)
        match = record.defaults.match(other, candidates) if isinstance(other, str) and column != name else None
        if match not in (None, label):
            record.problem("two labels in one row", column, f"{other!r}, but {name} is {label!r}",
                           "leave out the column that is not the label")  # fmt: skip


def _add_missing_label(record: Record, name: str, written: object) -> None:
    """Add the problem of a row without a label, which may say so (`written`)."""
    if written is None:
        hint = _unread_columns_hint(record)
        record.problem("no label", name, "the row has neither a label nor votes",
                       f"give one, or the split `unlabelled` (--in-split unlabelled){hint}")  # fmt: skip
    else:
        record.problem("no label", name, f"{written!r} says that the label is missing",
                       f"give one, or the split `unlabelled`; where {written!r} is a label"
                       " itself, list all with --labels")  # fmt: skip


def _unread_columns_hint(record: Record) -> str:
    """A hint, for a row without a label, at the columns that may hold it by another name."""
    others = [str(name) for name in record.values if name and name not in NAMES][:6]
    shown = ", ".join(map(repr, others))
    return f"; {shown} are not read: call a label 'label', and counts of votes 'votes.joy'" if others else ""


def read_record_votes(record: Record, candidates: tuple[str, ...]) -> tuple[Votes | None, Ratings | None]:
    """Counts by candidate (None for mean ratings), and how they were collected."""
    value, raters = record.values.get("votes"), record.values.get("raters")
    if is_missing(value):
        return None, _stored_ratings(record)
    try:
        if raters is not None and (isinstance(raters, bool) or not isinstance(raters, int) or raters < 1):
            raise VotesError(f"{raters!r} raters", "give a whole number, 1 or more")
        votes, ratings = read_votes(value, raters)
    except VotesError as error:
        record.problem("votes malformed", "votes", error.what, error.fix)
        return None, None
    ratings = _stored_ratings(record) or ratings
    labels = [*(votes or {}), *ratings.means]
    if unknown := [label for label in labels if record.defaults.match(label, candidates) is None]:
        record.unknown_label_problem("votes", unknown[0], candidates, "vote for an unknown label")
        return None, None
    if votes is not None and not any(votes.values()):
        record.problem("no vote", "votes", "all counts are 0", "leave the votes out, or the row")
        return None, None
    means = {str(record.defaults.match(label, candidates)): mean for label, mean in ratings.means.items()}
    return votes and _counts_by_candidate(votes, record.defaults, candidates), replace(ratings, means=means)


def read_second_votes(record: Record, candidates: tuple[str, ...]) -> Votes | None:
    """All answers of the second panel; those that mean "no label" are counted as UNKNOWN."""
    value = record.values.get("second_votes")
    if is_missing(value):
        return None
    try:
        votes, _ = read_votes(value)
    except VotesError as error:
        record.problem("votes malformed", "second_votes", error.what, error.fix)
        return None
    if not any((votes or {}).values()):
        record.problem("no vote", "second_votes", "all counts are 0", "leave the second votes out")
        return None
    counts: Votes = {}
    for label, count in (votes or {}).items():
        candidate = record.defaults.match(label, candidates) or (UNKNOWN if is_no_label(label) else None)
        if candidate is None:
            record.unknown_label_problem("second_votes", label, candidates, "vote for an unknown label")
            return None
        counts[candidate] = counts.get(candidate, 0) + count
    return counts


def _stored_ratings(record: Record) -> Ratings | None:
    """The ratings metadata that `emocaliber data convert` wrote, if any."""
    stored = record.values.get("ratings")
    if not stored:
        return None
    try:
        return msgspec.json.decode(stored, type=Ratings)
    except (msgspec.DecodeError, TypeError) as error:
        record.problem("votes malformed", "ratings", f"not as it was written ({error})", "convert the data again")
        return None


def _counts_by_candidate(votes: Votes, defaults: Defaults, candidates: Sequence[str]) -> Votes:
    """Counts by candidate, in the candidates' order; votes for a synonym count for its label."""
    counts: Votes = {}
    for label, count in votes.items():
        candidate = str(defaults.match(label, candidates))
        counts[candidate] = counts.get(candidate, 0) + count
    return {candidate: counts[candidate] for candidate in candidates if candidate in counts}


def read_record_rationale(record: Record, label: str | None) -> str | None:
    """The reasoning that leads to the label, without tags around it; None if there is none."""
    try:
        return read_rationale(record.text(*RATIONALE), label)
    except RationaleError as error:
        record.problem("rationale malformed", record.first(RATIONALE)[0], error.what, error.fix)
        return None
