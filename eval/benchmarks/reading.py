"""The reader on texts whose correct reading is known from a careful person, compared with peers' answer extraction.

A text is *right* where label and confidence are among the readings wanted, *silently wrong* where a label or a number
was read that is not, and *lost* where something that a person sees was not read. Peers that are installed are asked
about the same texts: lm-evaluation-harness's regex filter, inspect_ai's answer patterns; they are
made for labels; for the confidence they are given a pattern of the same kind. What is not installed is said so.

    python eval/benchmarks/reading.py --out eval/results/reading.md
    python eval/benchmarks/reading.py --responses base.merged.jsonl rlcr.merged.jsonl    the share of real ones read
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.predictions import State
from emocaliber.core.taxonomy import FERPLUS_8
from emocaliber.reading import read_response

TEXTS = Path(__file__).parent / "reading_texts.jsonl"
LABELS = tuple(sorted(FERPLUS_8.labels))
Read = tuple[str | None, float | None]
FIRST_LOOKS = {
    2: ("2026-11-29", 275, 246, 18, 11),
    3: ("2026-11-29", 437, 375, 49, 13),
    4: ("2026-11-29", 204, 195, 8, 1),
    5: ("2026-11-29", 204, 182, 11, 11),
    6: ("2026-11-29", 217, 213, 3, 1),
    7: ("2026-11-29", 135, 119, 15, 1),
    8: ("2026-11-29", 160, 146, 14, 0),
    9: ("2026-11-30", 220, 181, 36, 3),
    10: ("2026-11-30", 220, 179, 38, 3),
    11: ("2026-11-30", 250, 216, 32, 2),
    12: ("2026-11-30", 200, 175, 22, 3),
    13: ("2026-11-30", 200, 193, 6, 1),
    14: ("2026-11-30", 200, 190, 9, 1),
}
"""What each round of texts showed before the reader was changed after them: date, texts, right, lost, wrong."""
NUMBER = r"(?i)(?:confidence|probability|certainty)\W{0,5}(?:is\s)?(-?[0-9]*\.?[0-9]+)"
"""What a peer's regular-expression filter is given for the confidence."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text, the readings (label, confidence) that a careful person would give, how it was produced, and in which
    round it was written."""

    kind: str
    text: str
    want: list[tuple[str | None, float | None]]
    candidates: tuple[str, ...] = LABELS
    finish: str | None = None
    round: int = 1


def texts(path: Path = TEXTS) -> list[Line]:
    """The lines of the file."""
    return [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines() if line.strip()]


def ours(line: Line) -> Read:
    """The reader's label and confidence."""
    reading = read_response(line.text, line.candidates, finish_reason=line.finish)
    return reading.label, reading.confidence


def verdict(line: Line, read: Read) -> str:
    """right, lost or silently wrong."""
    if any(read[0] == label and _same(read[1], confidence) for label, confidence in line.want):
        return "right"
    wrong_label = read[0] is not None and read[0] not in [label for label, _ in line.want]
    wrong_number = read[1] is not None and not any(_same(read[1], confidence) for _, confidence in line.want)
    return "silently wrong" if wrong_label or wrong_number else "lost"


def _same(first: float | None, second: float | None) -> bool:
    return first == second or (first is not None and second is not None and abs(first - second) < 1e-9)


def peers() -> dict[str, Callable[[Line], Read]]:
    """The peers that are installed."""
    installed_peers: dict[str, Callable[[Line], Read]] = {}
    if importlib.util.find_spec("lm_eval") is not None:
        installed_peers["lm_eval"] = lm_eval
    if importlib.util.find_spec("inspect_ai") is not None:
        installed_peers["inspect_ai"] = inspect_ai
    return installed_peers


def lm_eval(line: Line) -> Read:
    """The first candidate that lm-evaluation-harness's regex filter finds, and its number behind "confidence"."""
    from lm_eval.filters.extraction import RegexFilter

    names = "|".join(map(re.escape, line.candidates))
    label = RegexFilter(rf"(?i)\b({names})\b", group_select=-1).apply([[line.text]], [{}])[0][0]
    number = RegexFilter(NUMBER, group_select=-1).apply([[line.text]], [{}])[0][0]
    return _candidate(label, line.candidates), _probability(number)


def inspect_ai(line: Line) -> Read:
    """What inspect_ai's word and line patterns for "ANSWER:" find where that is spelled as the texts do."""
    from inspect_ai._util.pattern import ANSWER_PATTERN_LINE, ANSWER_PATTERN_WORD
    from inspect_ai._util.text import str_to_float

    label = re.search(ANSWER_PATTERN_WORD.replace("ANSWER", "(?:ANSWER|EMOTION|LABEL)"), line.text)
    number = re.search(ANSWER_PATTERN_LINE.replace("ANSWER", "(?:CONFIDENCE|PROBABILITY|CERTAINTY)"), line.text)
    try:
        stated = str(str_to_float(number[1])) if number else None
    except ValueError:
        stated = None
    return _candidate(label[1] if label else None, line.candidates), _probability(stated)


def _candidate(text: str | None, candidates: Sequence[str]) -> str | None:
    return next((name for name in candidates if text is not None and name.casefold() == text.strip().casefold()), None)


def _probability(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else value / 100 if value <= 100 else None


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: right, lost and silently wrong by kind for the reader, and in total for each peer."""
    reads = [verdict(line, ours(line)) for line in lines]
    yield "| kind | texts | right | lost | silently wrong |"
    yield "|---|---:|---:|---:|---:|"
    for kind in dict.fromkeys(line.kind for line in lines):
        counts = Counter(read for line, read in zip(lines, reads, strict=True) if line.kind == kind)
        yield _row(kind, counts)
    yield _row("**all**", Counter(reads))
    yield ""
    yield "| on the same texts | texts | right | lost | silently wrong |"
    yield "|---|---:|---:|---:|---:|"
    yield _row("emocaliber", Counter(reads))
    installed = peers()
    for name, read in installed.items():
        yield _row(f"{name} {version(name)}", Counter(verdict(line, read(line)) for line in lines))
    for name in sorted({"lm_eval", "inspect_ai"} - set(installed)):
        yield f"| {name} | not installed | | | |"


def _row(name: str, counts: Counter[str]) -> str:
    return f"| {name} | {counts.total()} | {counts['right']} | {counts['lost']} | {counts['silently wrong']} |"


def real(paths: Iterable[Path]) -> Iterator[str]:
    """Markdown: how many responses of each file are read, and the states of the others."""
    from emocaliber.reading.foreign_outputs import read_merged

    yield "| responses of | n | label and confidence read | other states |"
    yield "|---|---:|---:|---|"
    for path in paths:
        states = Counter(row.state for row in read_merged(path))
        others = ", ".join(f"{state} {count}" for state, count in states.most_common() if state != State.OK)
        yield f"| {path.name} | {states.total()} | {states[State.OK] / max(1, states.total()):.1%} | {others} |"


def page(paths: Sequence[Path]) -> str:
    """The results as a Markdown page."""
    lines = texts()
    parts = [
        "# Reading",
        "",
        f"`python eval/benchmarks/reading.py`, {date.today().isoformat()}, {len(lines)} texts.",
        "",
    ]
    parts += table(lines)
    parts += [
        "",
        "The figures above are in-sample: the reader was mended after these texts. Each round at first look, read by",
        "the reader as it was when the round had been written:",
        "",
        "| round | date | texts | right | lost | silently wrong |",
        "|---|---|---:|---:|---:|---:|",
    ]
    parts += [f"| {number} | {' | '.join(map(str, look))} |" for number, look in FIRST_LOOKS.items()]
    parts += [
        "",
        "Rounds 8 to 14 are by people who had not seen the reader. Those of 12 to 14 had seen some of the",
        "public reports that the reader was first mended after, and wrote other texts of their kinds: a third of 12",
        "are traps, a quarter of 13 and 14.",
    ]
    if paths:
        parts += ["", "Real responses, as `emocaliber score` reads them:", "", *real(paths)]
    return "\n".join(parts) + "\n"


def failures(lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
    """The texts that are read wrongly, with their readings."""
    for line in lines:
        if (judged := verdict(line, ours(line))) != "right":
            yield {"verdict": judged, "kind": line.kind, "text": line.text, "read": ours(line), "want": line.want}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Read texts as a careful person would, and count.")
    parser.add_argument("--responses", type=Path, nargs="*", default=[], help="merged JSON Lines of real responses")
    parser.add_argument("--failures", action="store_true", help="print the texts that are not read rightly")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    if arguments.failures:
        for failure in failures(texts()):
            print(json.dumps(failure, ensure_ascii=False))
    result = page(arguments.responses)
    print(result)
    if arguments.out:
        arguments.out.write_text(result, encoding="utf-8")
