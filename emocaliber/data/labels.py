"""Labels as written in files: spelling variants, texts that mean "missing", and class numbers.

Spellings that differ only in case, spaces or Unicode composition are the same label. A text such as `nan` or `none`
means that there is no label, and a number has no meaning by itself, unless the data declares it: by candidates, a
taxonomy, the names of a ClassLabel, or `--labels`.

    emocaliber data check faces.csv --labels neutral,happy,sad          0, 1 and 2 are these
    emocaliber data check faces.csv --labels 1=surprise,2=fear,none     1 and 2 are these; `none` is a label
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from emocaliber.core.errors import UserError

MISSING = frozenset({
    "", "nan", "-nan", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nat", "null", "(null)", "[null]", "none", "(none)",
    "nil", "-", "--", "---", "?", "empty", "(empty)", "missing", "undefined", "unknown", "notavailable", "\\n",
})  # fmt: skip
"""Texts that pandas, R, Excel, SQL and annotators write for a missing value, in folded form."""
_LONGEST = 24
"""Characters, including surrounding spaces; a longer text does not mean "missing"."""
_NO_LABEL = MISSING | {
    "nolabel", "unlabelled", "unlabeled", "notlabelled", "notlabeled", "unannotated", "notannotated", "noannotation",
    "notapplicable", "n.d.", "tbd",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?")


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """The normalised form of a label: NFKC, case-folded, without spaces and invisible characters."""
    if text.isascii():
        return "".join(text.casefold().split())
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in composed if not c.isspace() and unicodedata.category(c) != "Cf")


def is_missing(value: object) -> bool:
    """Whether a cell is missing: None, NaN, or a text in MISSING."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, str):
        return len(value) <= _LONGEST and fold(value) in MISSING
    return value is None


def is_no_label(value: object) -> bool:
    """Whether a label is missing: as `is_missing`, or a text such as "unlabelled"."""
    return is_missing(value) or (isinstance(value, str) and fold(value) in _NO_LABEL)


def class_number(value: object) -> str | None:
    """A class number in canonical form (2, 2.0, "2" and "2.0e+00" are "2"; true and "True" are "true"; 0.5 is "0.5");
    None if the value is not a number."""
    if isinstance(value, str):
        text = value.strip().casefold()
        if text in ("true", "false"):
            return text
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
        return str(value)
    return str(int(value)) if isinstance(value, int | float) and math.isfinite(value) else None


@lru_cache(maxsize=4096)
def by_fold(labels: tuple[str, ...]) -> Mapping[str, str]:
    """Each label by its folded form."""
    return {fold(label): label for label in labels}


def one_spelling(counts: Mapping[str, int]) -> tuple[tuple[str, ...], list[str]]:
    """The distinct labels, sorted, each in its most frequent spelling (ties: the first alphabetically), and a sentence
    for every other spelling. Texts that mean "missing" and class numbers are not labels.
    """
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text, count in counts.items():
        if not is_no_label(text) and class_number(text) is None:
            spellings[fold(text)][text.strip()] += count
    labels, sentences = [], []
    for spelt in spellings.values():
        chosen = min(spelt, key=lambda text: (-spelt[text], text))
        labels.append(chosen)
        sentences += [
            f"{other!r} ({spelt[other]:,} rows) is read as {chosen!r} ({spelt[chosen]:,} rows)"
            for other in sorted(set(spelt) - {chosen})
        ]
    return tuple(sorted(labels)), sentences


def read_labels(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The labels of an option such as `joy,fear` or `1=joy,2=fear`, in order, and their names by class number.

    Without numbers, the first label is class 0, as in a ClassLabel. Raises UserError for fewer than two labels or a
    repeated one.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    numbered = [part.partition("=") for part in parts]
    if any(equals for _, equals, _ in numbered):
        names = {class_number(number) or number.strip(): name.strip() for number, equals, name in numbered if equals}
        labels = tuple(dict.fromkeys(name.strip() if equals else number for number, equals, name in numbered))
    else:
        names = {str(number): name for number, name in enumerate(parts)}
        labels = tuple(parts)
    if len(labels) < 2 or len({fold(label) for label in labels}) < len(labels) or "" in labels:
        raise UserError(f"--labels: {text!r} must name two labels or more, each once, such as joy,fear or 1=joy,2=fear")
    return labels, names


def class_names(columns: Iterable[str], metadata: Mapping[bytes, bytes] | None, folder: Path) -> tuple[str, ...]:
    """The class names of a Parquet file's label column: from its schema (as Hugging Face datasets writes it), or from
    the card README.md or dataset_infos.json beside it or one folder above. Empty if none of these names them."""
    described = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    described = described or next((features for at in (folder, folder.parent) if (features := _card(at))), {})
    for column in columns:
        feature = described.get(column)
        if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):  # a list of labels
            feature = feature["feature"]
        if isinstance(feature, dict) and isinstance(feature.get("names"), list):
            return tuple(map(str, feature["names"]))
    return ()


def _card(folder: Path) -> dict[str, Any]:
    """The features described in a data set's card or infos, with `names` for classes."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        card = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else {}
        info = card.get("dataset_info") or {}
        info = info[0] if isinstance(info, list) else info
        features = {part["name"]: {"names": _ordered(part)} for part in info.get("features", ())}
        if any(feature["names"] for feature in features.values()):
            return features
    except (OSError, ValueError, LookupError, AttributeError, TypeError, yaml.YAMLError):
        pass  # no card, or one that describes no features in this form
    try:
        infos = json.loads((folder / "dataset_infos.json").read_text(encoding="utf-8"))
        return dict(next(iter(infos.values()))["features"])
    except (OSError, ValueError, LookupError, AttributeError, TypeError, StopIteration):
        return {}


def _ordered(feature: Mapping[str, Any]) -> list[str] | None:
    """The names of `dtype: {class_label: {names: {'0': joy, '1': fear}}}`, in the order of their numbers."""
    dtype = feature.get("dtype")
    names = dtype.get("class_label", {}).get("names") if isinstance(dtype, dict) else None
    if isinstance(names, dict):
        return [str(names[key]) for key in sorted(names, key=int)]
    return names if isinstance(names, list) else None
