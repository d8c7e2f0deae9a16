"""One record of any table (a CSV line, a JSON object, a Parquet row) as a sample, or everything that is wrong with it.

Not a file reader: the layouts hand over mappings. What a record may hold, first name first:

    image | image_path | file_name    a path under the data root, or the file's bytes
    label | ground_truth | emotion    may be missing where there are votes, or in the split `unlabelled`
    candidates                        a list; by default the taxonomy's labels, or all that the file names
    votes, raters                     see emocaliber.data.votes
    id, split, group, task, licence   cluster | subject | source
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.samples import FileImage, ImageSource, Ratings, Sample
from emocaliber.core.taxonomy import Taxonomy
from emocaliber.data.rows import Found, Place, Problem, Row
from emocaliber.data.votes import Rule, Votes, VotesError, dominant, read_votes

IMAGE = ("image", "image_path", "file_name")
LABEL = ("label", "ground_truth", "emotion")
CLUSTER = ("cluster", "subject", "source")
NAMES = (*IMAGE, *LABEL, *CLUSTER, "candidates", "votes", "raters", "id", "split", "group", "task", "licence")

SPLITS = {
    "train": "train", "training": "train", "unlabelled": "unlabelled", "known": "known", "tied": "tied",
    "val": "calibrate", "valid": "calibrate", "validation": "calibrate", "dev": "calibrate",
    "publictest": "calibrate", "calibrate": "calibrate", "test": "test", "testing": "test", "privatetest": "test",
}  # fmt: skip
"""Published names of splits, and ours. What others validate on is what we calibrate on."""


@dataclass(frozen=True)
class Given:
    """What holds for every record that does not say otherwise. `rule` makes a label of votes where there is none."""

    root: Path
    task: str = "emotion"
    taxonomy: Taxonomy | None = None
    candidates: tuple[str, ...] = ()
    split: str = "train"
    licence: str = ""
    rule: Rule = "plurality"

    @property
    def labels(self) -> tuple[str, ...]:
        """The candidates of a record that lists none."""
        return self.taxonomy.labels if self.taxonomy else self.candidates

    def match(self, label: str, candidates: Sequence[str]) -> str | None:
        """The candidate that a written label means: exact, but for case and outer spaces, or by a declared synonym."""
        written = label.strip().casefold()
        named = {one.strip().casefold(): one for one in candidates}
        synonyms = self.taxonomy.synonyms if self.taxonomy else {}
        return named.get(written) or named.get(synonyms.get(written, "").casefold())


@dataclass
class _Record:
    """A record under way: its values, and the problems found so far."""

    place: Place
    values: Mapping[str, Any]
    given: Given
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: str, key: str, what: str, fix: str) -> None:
        self.problems.append(Problem(kind, self.place, key, what, fix))

    def first(self, names: Sequence[str]) -> tuple[str, Any]:
        """The first of these columns that holds something, and what it holds."""
        found = ((name, self.values.get(name)) for name in names)
        return next(((name, value) for name, value in found if value not in (None, "")), (names[0], None))

    def text(self, *names: str, default: str = "") -> str:
        """A value that must be text (a number will do). A problem where it is not."""
        name, value = self.first(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.problem("wrong type", name, f"{value!r} is not text", "write one plain value")
            return default
        return str(value)


def read_record(place: Place, values: Mapping[str, Any], given: Given, default_id: str) -> Iterator[Found]:
    """The row, or every problem that it has."""
    record = _Record(place, values, given)
    image = _image(record)
    candidates = _candidates(record)
    votes, ratings = _votes(record, candidates)
    split = _split(record)
    label, rule = _label(record, candidates, votes, ratings, split)
    name = record.text("id", default=default_id)
    sample = Sample(
        id=name,
        image=image,
        task=record.text("task", default=given.task),
        candidates=candidates,
        label=label,
        split=split,
        group=record.text("group"),
        cluster=record.text(*CLUSTER, default=name),
        votes=votes,
        licence=record.text("licence", default=given.licence),
        ratings=ratings,
        label_rule=rule,
    )
    if record.problems:
        yield from record.problems
    else:
        yield Row(place, sample)


def _image(record: _Record) -> ImageSource:
    name, value = record.first(IMAGE)
    if isinstance(value, Mapping):  # how Parquet files and Hugging Face datasets hold a picture
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value.strip():
        return FileImage(record.given.root, value)
    known = [str(key) for key in record.values]
    near = next((m for want in IMAGE for m in difflib.get_close_matches(want, known, n=1)), None)
    hint = f"rename {near!r} to 'image'" if near and near not in IMAGE else "give a path under the data root"
    record.problem("no image named", name, "the row names no image", hint)
    return b""


def _candidates(record: _Record) -> tuple[str, ...]:
    value = record.values.get("candidates")
    if value is None:
        return record.given.labels
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one.strip() for one in value):
        record.problem("candidates malformed", "candidates", f"{value!r} is not a list of labels",
                       'write a list such as ["joy", "fear"]')  # fmt: skip
        return ()
    folded = [one.strip().casefold() for one in value]
    if len(set(folded)) < len(folded):
        record.problem("candidate repeated", "candidates", f"{value!r} lists a label twice", "list each label once")
    if len(value) < 2:
        record.problem("too few candidates", "candidates", f"{value!r} leaves nothing to choose", "list two or more")
    return tuple(value)


def _split(record: _Record) -> str:
    written = record.text("split", default=record.given.split)
    split = SPLITS.get(written.strip().casefold())
    if split is None:
        record.problem("unknown split", "split", f"{written!r} is no split", f"write one of {', '.join(dict(SPLITS))}")
    return split or ""


def _votes(record: _Record, candidates: tuple[str, ...]) -> tuple[Votes | None, Ratings | None]:
    value, raters = record.values.get("votes"), record.values.get("raters")
    if value is None or value == "":
        return None, _stored_ratings(record)
    try:
        if raters is not None and (isinstance(raters, bool) or not isinstance(raters, int) or raters < 1):
            raise VotesError(f"{raters!r} raters", "their number is whole, 1 or more")
        votes, ratings = read_votes(value, raters)
    except VotesError as error:
        record.problem("votes malformed", "votes", error.what, error.fix)
        return None, None
    ratings = _stored_ratings(record) or ratings
    if not candidates:
        return None, None
    named = [*(votes or {}), *ratings.means]
    if strangers := [label for label in named if record.given.match(label, candidates) is None]:
        record.problem("vote for a stranger", "votes", f"{strangers[0]!r} is not among the candidates",
                       f"mend it, or the candidates {', '.join(candidates)}")  # fmt: skip
        return None, None
    if votes is not None and not any(votes.values()):
        record.problem("no vote", "votes", "there is no vote", "leave the votes out, or the row")
        return None, None
    means = {str(record.given.match(label, candidates)): mean for label, mean in ratings.means.items()}
    return votes and _renamed(votes, record.given, candidates), replace(ratings, means=means)


def _stored_ratings(record: _Record) -> Ratings | None:
    """What `emocaliber data convert` wrote of how the raters were asked, if anything."""
    stored = record.values.get("ratings")
    if not stored:
        return None
    try:
        return msgspec.json.decode(stored, type=Ratings)
    except (msgspec.DecodeError, TypeError) as error:
        record.problem("votes malformed", "ratings", f"not as it was written ({error})", "convert the data again")
        return None


def _renamed(votes: Votes, given: Given, candidates: Sequence[str]) -> Votes:
    """Counts by candidate, in the candidates' order: what a synonym got is its label's."""
    counts: Votes = {}
    for candidate in candidates:
        named = [count for label, count in votes.items() if given.match(label, candidates) == candidate]
        if named:
            counts[candidate] = sum(named)
    return counts


def _label(
    record: _Record, candidates: tuple[str, ...], votes: Votes | None, ratings: Ratings | None, split: str
) -> tuple[str | None, str]:
    name, written = record.first(LABEL)
    stored = record.text("label_rule")
    if written is None and stored:
        return None, stored
    if written is None:
        if votes is not None:
            return dominant(votes, record.given.rule, ratings.raters if ratings else None), record.given.rule
        if ratings is None and split != "unlabelled" and not record.values.get("votes"):
            record.problem("no label", name, "the row has neither a label nor votes",
                           "give one, or the split `unlabelled`")  # fmt: skip
        return None, "given"
    if isinstance(written, bool) or not isinstance(written, str | int):
        record.problem("wrong type", name, f"{written!r} is not a label", "write the label's name")
        return None, "given"
    label = record.given.match(str(written), candidates)
    if label is None and candidates:
        record.problem("label not among candidates", name, f"{written!r} is not among the candidates",
                       f"mend it, or the candidates {', '.join(candidates)}")  # fmt: skip
    return label, stored or "given"
