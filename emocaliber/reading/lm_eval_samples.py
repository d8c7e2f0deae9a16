"""lm-evaluation-harness's `samples_TASK_DATE.jsonl` (`--log_samples`) as Prediction rows, from what version 0.4.13
writes.

For generation tasks, the filtered response is parsed; for multiple-choice tasks, the confidence is the softmax of the
choices' log-likelihoods. The method is named after the folder, which lm_eval names after the model.

    emocaliber score out/Qwen__Qwen3-0.6B/samples_emotions_2026-11-30T19-10-26.588315.jsonl
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State, decode_lines
from emocaliber.reading.harness_rows import Item, Note, candidates_in, rows_of, true_label, votes_in

KEYS = {"doc_id", "doc", "target", "arguments", "filtered_resps", "filter"}
"""Keys that every line has."""
_NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.-]+")


class _Line(msgspec.Struct):
    """What is read of a line."""

    doc_id: int | str
    doc: dict[str, Any]
    target: Any
    arguments: dict[str, dict[str, Any]]
    filtered_resps: list[Any]
    filter: str = "none"


@dataclass(frozen=True)
class _File:
    """Where lines come from: the file, and the task and the model that its name and folder say."""

    path: Path
    task: str
    model: str

    @classmethod
    def of(cls, path: Path) -> _File:
        named = _NAME.fullmatch(path.name.removesuffix(".gz").removesuffix(".jsonl"))
        return cls(path, named["task"] if named else "all", path.resolve().parent.name if named else path.stem)


def read_lm_eval(path: Path, labels: Sequence[str], note: Note) -> Iterator[Prediction]:
    """The rows of a file of samples; several filters are as many methods. Raises UserError naming file and line."""
    file = _File.of(path)
    lines = list(decode_lines(path, _Line))
    filters = {line.filter for _, line in lines}
    chosen = [(number, line, file.model if len(filters) == 1 else f"{file.model} ({line.filter})")
              for number, line in lines]  # fmt: skip
    if all(_is_choice(line) for _, line in lines):
        for number, line, method in chosen:
            yield _chosen(file, number, line, method)
        return
    yield from rows_of((_item(file, number, line, method) for number, line, method in chosen), labels, note)


def _is_choice(line: _Line) -> bool:
    """Whether a response is a log-likelihood and whether it is the greedy one, for each choice."""
    return all(isinstance(each, list) and len(each) == 2 for each in line.filtered_resps) and bool(line.filtered_resps)


def _item(file: _File, number: int, line: _Line, method: str) -> Item:
    where = f"{file.path}, line {number}"
    choices = candidates_in(line.doc)
    target = line.target
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    if not isinstance(target, str | int):
        raise UserError(f"{where}: 'target' is {target!r}; one true label is needed")
    truth = str(target)
    if choices and truth.isdecimal() and truth not in choices and int(truth) < len(choices):
        truth = choices[int(truth)]
    response = line.filtered_resps[0] if line.filtered_resps else ""
    if isinstance(response, list):  # a filter that keeps several draws
        response = response[0] if response else ""
    return Item(where, str(line.doc_id), file.task, method, truth, str(response), choices, votes=votes_in(line.doc))


def _chosen(file: _File, number: int, line: _Line, method: str) -> Prediction:
    """The row of a task with multiple choice."""
    where = f"{file.path}, line {number}"
    asked = [arguments.get("arg_1") for arguments in line.arguments.values()]
    texts = [str(text).strip() for text in asked]
    half = len(texts) // 2
    if half > 1 and texts[:half] == texts[half:]:  # acc_mutual_info asks again without the question
        texts = texts[:half]
    if len(set(texts)) < len(texts):
        raise UserError(f"{where}: choices that differ in the question alone have no names; log a task that generates")
    try:
        likelihoods = np.array([float(each[0]) for each in line.filtered_resps[: len(texts)]])
    except (TypeError, ValueError):
        raise UserError(f"{where}: 'filtered_resps' holds {line.filtered_resps[0]!r}, no log-likelihood") from None
    stated = str(line.target).strip()
    index = int(stated) if stated.isdecimal() and int(stated) < len(texts) else None
    truth = texts[index] if index is not None else true_label(stated, texts, where, lettered=False)
    shares = np.exp(likelihoods - likelihoods.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    tied = any(a == b for a, b in pairwise(np.sort(shares)[::-1][:2]))
    return Prediction(
        str(line.doc_id),
        file.task,
        "",
        str(line.doc_id),
        truth,
        None if tied else texts[best],
        None if tied else float(shares[best]),
        State.AMBIGUOUS_LABEL if tied else State.OK,
        Source.LOGPROB,
        method,
        votes=votes_in(line.doc),
        distribution=dict(zip(texts, map(float, shares), strict=True)),
        probability=None if tied else float(shares[best]),
    )
