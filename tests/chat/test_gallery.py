"""The gallery holds every picture of the folder, the most doubtful first, and exports what is chosen."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from emocaliber.chat.answers import Answer
from emocaliber.chat.batching import Batcher
from emocaliber.chat.gallery import (
    COLUMNS,
    EVERY_LABEL,
    NO_LABEL,
    Row,
    as_csv,
    as_jsonl,
    ask_folder,
    chosen,
    doubtful_first,
    files_of,
)
from emocaliber.core.errors import UserError
from tests.chat.test_answers import read
from tests.chat.test_desk import Scripted
from tests.chat.test_session import CHOICE


def said(label: str, confidence: str) -> tuple[Answer, str]:
    return read(f"<answer>{label}</answer><confidence>{confidence}</confidence>"), ""


ANSWERS = [said("joy", "0.90"), said("awe", "0.30"), said("nonsense", "0.99"), said("awe", "0.80"), said("joy", "?")]


def test_the_unreadable_come_first_and_then_the_doubtful():
    assert [answer.confidence for answer, _ in doubtful_first(ANSWERS)] == [None, 0.3, 0.8, 0.9, 0.99]


def test_filters_choose_by_label_and_by_trust():
    assert len(chosen(ANSWERS, EVERY_LABEL, False)) == 5
    assert {answer.label for answer, _ in chosen(ANSWERS, "awe", False)} == {"awe"}
    assert [answer.label for answer, _ in chosen(ANSWERS, NO_LABEL, False)] == [None]
    assert not any(answer.trusted for answer, _ in chosen(ANSWERS, EVERY_LABEL, True))


def test_both_exports_hold_every_answer_in_order():
    answers = [answer for answer, _ in ANSWERS]
    rows = list(csv.DictReader(io.StringIO(as_csv(answers))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["confidence"] for row in rows] == ["0.9", "0.3", "0.99", "0.8", ""]
    assert [json.loads(line)["label"] for line in as_jsonl(answers).splitlines()] == ["joy", "awe", None, "awe", "joy"]


def test_only_pictures_of_the_folder_are_listed(album: Path):
    names = files_of(album)
    assert len(names) == 20
    assert names == sorted(names)
    assert "below/00.png" in names
    assert "notes.txt" not in names


@pytest.mark.parametrize("name", ["nowhere", "below/empty"])
def test_a_folder_without_pictures_is_an_error(tmp_path: Path, name: str):
    (tmp_path / "below" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match="--gallery"):
        files_of(tmp_path / name)


def test_every_picture_has_its_row_the_broken_and_the_foreign_ones_too(album: Path):
    names, batcher = files_of(album), Batcher(Scripted)

    async def rows() -> list[list[Row]]:
        return [part async for part in ask_folder(album, names, CHOICE, batcher, ("joy", "awe"))]

    parts = asyncio.run(rows())
    assert [len(part) for part in parts] == [16, 4]
    found = {row.name: row.read(CHOICE, 0.7) for part in parts for row in part}
    assert list(found) == names
    assert "not a PNG" in found["<b>broken.png"].sentence
    assert "lies outside" in found["link.png"].sentence
    assert str(album.parent) not in found["link.png"].sentence
    assert found["below/00.png"].label == "joy"
    assert sum(batcher.batches) == 18
    batcher.close()
