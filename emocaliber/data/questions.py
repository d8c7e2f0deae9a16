"""Layouts of published data sets whose rows have their own question, asked with the prompt `question`.

    mvei        MVEI_metadata.json: statements about images/EMOTION/*.jpg, correct or incorrect (arXiv 2509.21950)
    eemo-bench  EEmo-Bench(single).json: yes-or-no and what/how questions with options (arXiv 2504.16405)

From EEmo-Bench, open questions (which have no options), questions about pairs of images (a sample has one image), and
ranking and assessment (which the release derives from each image's ratings) are left out; notes say how many. Both
layouts are reconstructions, MVEI's from its card and EEmo-Bench's from its scripts and published answers, because the
images were not available.

    emocaliber data convert MVEI --out mvei.parquet
    emocaliber predict mvei.parquet --prompt question --model DIR --score --out answers
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emocaliber.data.records import read_record
from emocaliber.data.rows import Defaults, Entry, Note, Place, Problem
from emocaliber.data.tables import records

MVEI_FILE = "MVEI_metadata.json"
MVEI_LABELS = ("correct", "incorrect")
MVEI_QUESTION = "Is this statement about the image correct or incorrect? “{statement}”"
EEMO_FILE = re.compile(r"EEmo-Bench.*(single|pair).*\.json", re.IGNORECASE)
EEMO_TASKS = {"Yes-or-No": "EEmo-yes-no", "What/How": "EEmo-what-how"}
EEMO_LEFT_OUT = {"pair": "questions about a pair of pictures", "open": "open questions"}
FOLDER = "images"


def read_mvei(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """MVEI's statements, each a row; their class (sentiment polarity, ...) is the row's group."""
    for record in records(root / MVEI_FILE):
        if isinstance(record, Problem):
            yield record
            continue
        place, values = record
        statements, image = values.get("statement_list"), values.get("image_id")
        if not isinstance(image, str) or not isinstance(statements, list):
            yield _malformed(place, values, "an image_id and a statement_list")
            continue
        for number, statement in enumerate(statements, start=1):
            if not (isinstance(statement, dict) and isinstance(statement.get("statement"), str)):
                yield _malformed(place, statement, "a statement and its label")
                continue
            question = MVEI_QUESTION.format(statement=statement["statement"].strip())
            row = {
                "image": f"{FOLDER}/{image}", "question": question, "candidates": list(MVEI_LABELS),
                "label": statement.get("label"), "group": statement.get("class"), "cluster": image,
            }  # fmt: skip
            yield from read_record(place, row, defaults, f"{image}#{number}")


def read_eemo_bench(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """EEmo-Bench's questions with options about one picture; their dimension (valence perception, ...) is the group."""
    left_out = Counter[str]()
    for path in sorted(file for file in root.iterdir() if EEMO_FILE.fullmatch(file.name)):
        for record in records(path):
            if isinstance(record, Problem):
                yield record
            elif "image2_url" in record[1]:
                left_out["pair"] += 1
            elif record[1].get("question_type") not in EEMO_TASKS:
                left_out["open"] += 1
            else:
                yield from _eemo_row(*record, root, defaults)
    for kind, count in left_out.items():
        yield Note("left out", Place(str(root)), f"{count:,} {EEMO_LEFT_OUT[kind]} are left out", count)


def _eemo_row(place: Place, values: Mapping[str, Any], root: Path, defaults: Defaults) -> Iterator[Entry]:
    options, image = _options(values.get("options")), values.get("image_url")
    if options is None or values.get("correct_answer") not in options or not isinstance(image, str):
        yield _malformed(place, values, "an image_url, options by letter and the letter that is right")
        return
    row = {
        "id": f"single/{values['id']}" if "id" in values else None,
        "image": f"{FOLDER}/{image}" if (root / FOLDER).is_dir() else image,
        "task": EEMO_TASKS[values["question_type"]], "question": values.get("question"),
        "candidates": list(options.values()), "label": options[values["correct_answer"]],
        "group": values.get("perceptual_dimension"), "cluster": image,
    }  # fmt: skip
    yield from read_record(place, row, defaults, f"single/{place.line}")


def _options(written: Any) -> dict[str, str] | None:
    """The options by letter, without the stop that some end with; None where they are not written so."""
    if isinstance(written, str):
        try:
            written = ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not (isinstance(written, dict) and len(written) > 1 and all(isinstance(o, str) for o in written.values())):
        return None
    return {str(letter): option.strip().rstrip(".") for letter, option in written.items()}


def _malformed(place: Place, content: Any, expected: str) -> Problem:
    return Problem(
        "entry malformed", place, "", f"{str(content)[:60]!r} has not {expected}", "take it from the release"
    )
