"""Which column of a person's table is what: by its header, and where that says nothing, a guess from its cells.

A header counts in any case and punctuation, and with the words that people add: "Predicted emotion", "emotion (true)",
"Confidence in %". A guess is only ever suggested, as the options to give.

    recognised(["File name", "Predicted emotion", "Confidence (%)"], "prediction")      # 1
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

HEADERS = {
    "confidence": ("confidence", "model confidence", "stated confidence", "verbalized confidence", "confidence score",
                   "conf", "probability", "prob", "certainty", "confidence level", "prediction confidence",
                   "predicted probability", "max probability", "max prob", "how sure", "how confident", "score"),
    "correct": ("correct", "is correct", "correctness", "right", "is right", "hit", "was correct", "is it correct",
                "correct prediction", "acc", "accuracy"),
    "label": ("truth", "true label", "ground truth", "gold", "gold label", "target", "label", "y true", "gt", "actual",
              "annotation", "annotated label", "human label", "reference label", "expected label", "correct label"),
    "prediction": ("prediction", "predicted", "pred", "predicted label", "pred label", "model prediction", "y pred",
                   "model answer", "model s answer", "detected label", "recognized label", "output label"),
    "id": ("id", "sample id", "item id", "example id", "question id", "image id", "row id", "uid"),
    "task": ("task", "dataset"),
    "group": ("group", "subset"),
    "cluster": ("cluster", "cluster id"),
}  # fmt: skip
"""Recognised headers of each role, the surest first."""
PICTURES = ("file name", "filename", "file", "file path", "image", "image name", "image file", "image path", "picture",
            "photo", "path")  # fmt: skip
"""Headers of a column that names pictures: ids where each stands in one row, else clusters."""
ADDED = {
    "confidence": {"percent", "percentage", "pct", "in", "the", "of", "answer", "score", "value", "model"},
    "label": {
        "label",
        "emotion",
        "emotions",
        "class",
        "category",
        "answer",
        "expression",
        "feeling",
        "sentiment",
        "the",
    },
}
ADDED["prediction"] = ADDED["label"] | {"model", "s"}
"""Words that say nothing about the role they are given with."""
EITHER = ("emotion", "expression")
"""The true or the predicted label: whichever has no column of its own."""
TRUE = {"1", "1.0", "true", "t", "yes", "y", "right", "correct"}
FALSE = {"0", "0.0", "false", "f", "no", "n", "wrong", "incorrect"}
SAYING = {"model", "said", "says", "answer", "output", "guess", "predicted", "prediction"}
"""Words of a header by which a guess tells the predicted label from the true one."""
LOOKED_AT = 500
"""Rows that a guess looks at."""
MOST_LABELS = 50


def plain(header: str) -> str:
    """A header without case and punctuation, with single spaces."""
    return re.sub(r"[\W_]+", " ", header).strip().casefold()


def recognised(header: Sequence[str], role: str, taken: Collection[int] = ()) -> int | None:
    """The column of a role, or None: the surest header, then one that says the same with words added."""
    free = {place: plain(name) for place, name in enumerate(header) if place not in taken}
    for known in HEADERS[role]:
        if (place := next((place for place, name in free.items() if name == known), None)) is not None:
            return place
    added = ADDED.get(role, set())
    cores = [core for known in HEADERS[role] if (core := set(known.split()) - added)] if added else []
    return next((place for core in cores for place, name in free.items() if set(name.split()) - added == core),
                None)  # fmt: skip


def other_label(header: Sequence[str], used: Mapping[str, int]) -> dict[str, int]:
    """A column that is just "emotion", in the one of both roles that is still free."""
    missing = [role for role in ("label", "prediction") if role not in used]
    place = next((place for place, name in enumerate(header) if plain(name) in EITHER), None)
    return {missing[0]: place} if len(missing) == 1 and place is not None and place not in used.values() else {}


def picture_column(header: Sequence[str], cells: Sequence[Sequence[Any]]) -> tuple[str, int] | None:
    """The column that names pictures, and its role: "id" where each name stands in one row, else "cluster"."""
    names = [plain(name) for name in header]
    for place in (names.index(known) for known in PICTURES if known in names):
        found = [row[place] for row in cells if len(row) > place]
        if found and all(isinstance(cell, str) and cell.strip() for cell in found):
            return ("id" if len({cell.strip() for cell in found}) == len(found) else "cluster"), place
    return None


def says_percent(header: str) -> bool:
    """Whether a header says that its numbers are percentages."""
    return "%" in header or bool({"percent", "percentage", "pct"} & set(plain(header).split()))


def options_for(header: Sequence[str], cells: Sequence[Sequence[Any]], used: Mapping[str, int]) -> str:
    """The options that would name the columns that `used` lacks, guessed from the cells; "" where nothing fits."""
    columns = {
        place: [text for row in cells[:LOOKED_AT] if len(row) > place and (text := _text(row[place]))]
        for place in range(len(header))
        if place not in used.values()
    }
    found: dict[str, int] = {}
    yes_or_no = [
        place for place, column in columns.items() if column and {text.casefold() for text in column} <= TRUE | FALSE
    ]
    if "confidence" not in used:
        sure = [place for place, column in columns.items() if place not in yes_or_no and _is_confidence(column)]
        found |= {"confidence": sure[0]} if sure else {}
    if "correct" not in used and not {"label", "prediction"} <= used.keys():
        found |= {"correct": yes_or_no[0]} if yes_or_no else _labels(header, columns, cells, used)
    return " ".join(f"--{role}-column {shlex.quote(header[place])}" for role, place in found.items())


def _is_confidence(column: Sequence[str]) -> bool:
    """Numbers from 0 to 100, and not those that count the rows."""
    numbers = [finite(text.rstrip("%").replace(",", ".")) for text in column]
    within = [value for value in numbers if value is not None and 0 <= value <= 100]
    counting = len(set(within)) == len(within) > 2 and all(value.is_integer() for value in within)
    return len(within) == len(numbers) > 0 and not counting


def _labels(
    header: Sequence[str],
    columns: Mapping[int, Sequence[str]],
    cells: Sequence[Sequence[Any]],
    used: Mapping[str, int],
) -> dict[str, int]:
    """The true and the predicted label: two columns of the same few words."""
    known = {role: used[role] for role in ("label", "prediction") if role in used}
    words = {place: _words(column) for place, column in columns.items()}
    words |= {place: _words(_text(row[place]) for row in cells[:LOOKED_AT] if len(row) > place)
              for place in known.values()}  # fmt: skip
    few = [place for place, own in words.items() if 2 <= len(own) <= MOST_LABELS]
    pairs = [pair for pair in combinations(few, 2) if set(known.values()) <= set(pair)]
    best = max(pairs, key=lambda pair: len(words[pair[0]] & words[pair[1]]), default=None)
    if best is None or 2 * len(words[best[0]] & words[best[1]]) < len(words[best[0]] | words[best[1]]):
        return {}
    missing = [role for role in ("label", "prediction") if role not in known]
    free = sorted(set(best) - set(known.values()), key=lambda place: bool(SAYING & set(plain(header[place]).split())))
    return dict(zip(missing, free, strict=True))


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _words(column: Iterable[str]) -> set[str]:
    return {text.casefold() for text in column if finite(text) is None}


def finite(text: str) -> float | None:
    """The finite number that a cell is, or None."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
