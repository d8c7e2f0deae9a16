"""Reading files of any origin as Prediction rows: prediction files, EmoCaliber's merged output, and logs of inspect_ai,
lm-evaluation-harness and VLMEvalKit. For users' own tables see `tables`.

The file type is recognised by content, not by name. A line of merged output has `response`, `ground_truth`,
`candidates` (a list) and `task`; other keys, including its own `confidence`, are ignored, and the response is parsed as
everywhere else.

    rows = list(read_lines(Path("merged.jsonl")))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_utf8
from emocaliber.core.prediction_files import is_columnar
from emocaliber.core.predictions import Prediction, Source, decode_lines, read_predictions
from emocaliber.reading import read_response
from emocaliber.reading.harness_rows import Note, rows_of
from emocaliber.reading.inspect_logs import inspect_items, is_inspect_log
from emocaliber.reading.lm_eval_samples import KEYS, read_lm_eval
from emocaliber.reading.table_cells import listed_objects, read_header
from emocaliber.reading.vlmevalkit_tables import is_vlmevalkit_table, vlmevalkit_items


class MergedLine(msgspec.Struct, frozen=True):
    """The keys that are read of a line of EmoCaliber's merged output."""

    response: str | list[str] | None
    ground_truth: str
    candidates: list[str] | str
    task: str


def is_table(path: Path) -> bool:
    """Whether the file is a table, for `tables.read_table`: neither a prediction file nor a harness's output."""
    if is_columnar(path) or is_inspect_log(path):
        return False
    keys = _first_keys(path)
    if keys is not None and ("response" in keys or "state" in keys or {"source", "method"} <= keys or not keys):
        return False
    return not (keys is not None and keys >= KEYS) and not is_vlmevalkit_table(_header(path, keys))


def read_lines(
    path: Path, *, unlabelled: bool = False, labels: Sequence[str] = (), note: Note = lambda _: None
) -> Iterator[Prediction]:
    """The rows of any file that is no table.

    `labels` are the candidates of responses whose file names none; `note` is told where its true labels stand in for
    them. Raises UserError naming file, line and key; unless `unlabelled`, also for a row without truth.
    """
    if is_inspect_log(path):
        return rows_of(inspect_items(path), labels, note)
    keys = _first_keys(path)
    if "response" in (keys or ()):
        return read_merged(path)
    if keys is not None and keys >= KEYS:
        return read_lm_eval(path, labels, note)
    if not is_columnar(path) and is_vlmevalkit_table(_header(path, keys)):
        return rows_of(vlmevalkit_items(path), labels, note)
    return read_predictions(path, unlabelled=unlabelled)


def _header(path: Path, keys: set[str] | None) -> Iterable[str]:
    return read_header(path) if keys is None else keys


def _first_keys(path: Path) -> set[str] | None:
    """The keys of a file's first JSON object; an empty set if it is malformed, and None if the file is not JSON."""
    with open_utf8(path) as file:
        first = file.readline()
        if (mark := first.lstrip()[:1]) not in (b"{", b"["):
            return None
        try:
            if mark == b"{":
                return set(msgspec.json.decode(first, type=dict[str, msgspec.Raw]))
            objects = listed_objects(first + file.read())
            return set(objects[0]) if objects else set()
        except ValueError:  # msgspec's errors are
            return set()


def read_merged(path: Path) -> Iterator[Prediction]:
    """The rows of EmoCaliber's merged output, ids by line. Raises UserError naming file, line and key."""
    for number, line in decode_lines(path, MergedLine):
        where = f"{path}, line {number}"
        candidates = _candidates(line.candidates)
        names = {name.casefold(): name for name in candidates}
        truth = names.get(line.ground_truth.strip().casefold())
        if truth is None:
            raise UserError(
                f"{where}: 'ground_truth' {line.ground_truth!r} is not among 'candidates' {candidates}; correct either"
            )
        reading = read_response(_response(line.response, where), candidates)
        name = f"{line.task}/{number}"
        yield Prediction(
            name,
            line.task,
            "",
            name,
            truth,
            reading.label,
            reading.confidence,
            reading.state,
            Source.VERBALIZED,
            path.stem,
            distribution=reading.distribution,
        )


def _candidates(stated: list[str] | str) -> list[str]:
    """The labels to choose from, given as a list or as comma-separated text."""
    return [name.strip() for name in (stated.split(",") if isinstance(stated, str) else stated)]


def _response(stated: str | list[str] | None, where: str) -> str:
    """The text of the only response. Raises UserError if there are several."""
    if isinstance(stated, list):
        if len(stated) > 1:
            raise UserError(f"{where}: 'response' holds {len(stated)} texts; write one line for each")
        return stated[0] if stated else ""
    return stated or ""
