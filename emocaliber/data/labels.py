"""Labels as written in files: spelling variants, texts that mean "missing", and class numbers.

Spellings that differ only in case, spaces or Unicode composition are the same label. A text such as `nan` or `none`
means that there is no label, and a number has no meaning by itself, unless the data declares it: by candidates, a
taxonomy, the names of a ClassLabel, or `--labels`.

    emocaliber data check faces.csv --labels neutral,happy,sad          0, 1 and 2 are these
    emocaliber data check faces.csv --labels 1=surprise,2=fear,none     1 and 2 are these; `none` is a label
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from emocaliber.core.errors import UserError

MISSING = frozenset({
    "", "nan", "-nan", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nat", "null", "(null)", "[null]", "none", "(none)",
    "nil", "-", "--", "---", "?", "empty", "(empty)", "missing", "undefined", "unknown", "notavailable", "\\n",
})  # fmt: skip
"""Texts that pandas, R, Excel, SQL and annotators write for a missing value, in folded form."""
_LONGEST = 24
"""Characters, including surrounding spaces; a longer text does not mean "missing"."""
_NO_LABEL = MISSING | {
    "n.a", "xxx", "vide", "vacío",
    "nolabel", "unlabelled", "unlabeled", "notlabelled", "notlabeled", "unannotated", "notannotated", "noannotation",
    "notapplicable", "n.d", "n/d", "nd.", "tbd", "todo", "unspecified", "notspecified", "unassigned", "unclassified",
    "notset", "nodata", "novalue", "noanswer", "skip", "skipped", "ignore", "ignored", "blank", "unk", "pd.na",
    "inf", "-inf", "+inf", "infinity", "-infinity", "1.#qnan", "1.#ind", "-1.#ind", "1.#inf", "-nan(ind", "#nv", "#n/v",
    "#n/d", "unbekannt", "keineangabe", "k.a", "n.v", "ohnelabel", "keinlabel", "fehlend", "inconnu", "inconnue",
    "nonrenseigné", "sansétiquette", "sanslabel", "manquant", "desconocido", "desconocida", "sinetiqueta", "sindatos",
    "s/d", "desconhecido", "desconhecida", "semrótulo", "semetiqueta", "sconosciuto", "sconosciuta", "senzaetichetta",
    "onbekend", "okänd", "ukjent", "ukendt", "tuntematon", "nieznany", "brakdanych", "neznámý", "bilinmiyor",
    "etiketsiz", "неизвестно", "нетданных", "безметки", "н/д", "невідомо", "无", "無", "未知", "未标注", "未標註",
    "无标签", "無標籤", "缺失", "なし", "無し", "不明", "未設定", "ラベルなし", "欠損", "없음", "알수없음", "미정",
    "라벨없음", "अज्ञात", "غيرمعروف",
}  # fmt: skip
_AROUND = "()[]{}<>\"'«»“”‘’`"
_ERROR_CELL = re.compile(r"#[\w/]+[!?]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?")


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """The normalised form of a label: NFKC, case-folded, without spaces and invisible characters."""
    if text.isascii():
        return "".join(text.casefold().split())
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold().translate(_ONE_FORM))
    return "".join(c for c in composed if not c.isspace() and unicodedata.category(c) != "Cf")


_ONE_FORM = {0x131: "i", 0x307: None, 0xFE0E: None, 0xFE0F: None}
"""Turkish has two letters i, whose case Unicode maps across; an emoji may ask to be drawn as text or in colour."""


def is_missing(value: object) -> bool:
    """Whether a cell is missing: None, NaN, or a text in MISSING."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, str):
        return len(value) <= _LONGEST and fold(value) in MISSING
    return value is None


def is_no_label(value: object) -> bool:
    """Whether a label is missing: as `is_missing`, or a text such as "unlabelled", in quotes or brackets too, an error
    of a spreadsheet (#REF!), or punctuation alone."""
    if is_missing(value) or not isinstance(value, str) or len(value) > _LONGEST:
        return is_missing(value)
    text = fold(value)
    plain = text.strip(_AROUND).rstrip(".!")
    if {text, plain} & _NO_LABEL or _ERROR_CELL.fullmatch(text):
        return True
    return all(unicodedata.category(c).startswith("P") for c in text)


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
        names = {class_number(number) or fold(number): name.strip() for number, equals, name in numbered if equals}
        labels = tuple(dict.fromkeys(name.strip() if equals else number for number, equals, name in numbered))
    else:
        names = {str(number): name for number, name in enumerate(parts)}
        labels = tuple(parts)
    if len(labels) < 2 or len({fold(label) for label in labels}) < len(labels) or "" in labels:
        raise UserError(f"--labels: {text!r} must name two labels or more, each once, such as joy,fear or 1=joy,2=fear")
    return labels, names


def doubtful(labels: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """What may not be a label of its own, among labels that nobody declared: kind, what is wrong, and the fix."""
    named = by_fold(tuple(labels))
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for folded, label in named.items():
        if letters := "".join(filter(_distinguishes, unicodedata.normalize("NFKD", folded))):
            alike[letters].append(label)
        parts = [part for part in re.split(r"[,;|/+&]", folded) if part]
        if len(parts) > 1 and set(parts) <= named.keys():
            yield ("several labels in one", f"{label!r} is a list of labels",
                   "write one label a row, or votes such as [\"joy\", \"fear\"]")  # fmt: skip
    for spelt in alike.values():
        if len(spelt) > 1:
            yield ("two labels or one?", f"{' and '.join(map(repr, spelt))} differ in punctuation or accents only",
                   f"write one label one way, or declare all: --labels {','.join(spelt)},...")  # fmt: skip
    numbered = [(label, found[1]) for label in named.values() if (found := _NUMBERED.fullmatch(label))]
    if len(numbered) == len(named) > 1:
        yield ("number before a label", f"{numbered[0][0]!r} begins with a number, as all labels do",
               f"name the labels: --labels '{','.join(f'{label}={name}' for label, name in numbered)}'")  # fmt: skip


def _distinguishes(character: str) -> bool:
    """Whether a character is part of a word: a letter, a digit, or a vowel sign; not an accent of Latin or Greek."""
    accent = "\u0300" <= character <= "\u036f"
    return character.isalnum() or (unicodedata.category(character).startswith("M") and not accent)


_NUMBERED = re.compile(r"\d+[\s_.:)-]+([^\W\d].*)")
