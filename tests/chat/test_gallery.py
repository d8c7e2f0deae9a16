"""The gallery holds every picture of the folder, the most doubtful first, and exports what is chosen."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from emocaliber.chat.answer import Answer
from emocaliber.chat.batching import Batcher
from emocaliber.chat.controller import InSession, View
from emocaliber.chat.gallery import (
    COLUMNS,
    EVERY_LABEL,
    NO_LABEL,
    Gallery,
    as_csv,
    as_jsonl,
    doubtful_first,
    files_of,
    filtered,
)
from emocaliber.chat.session import Turn
from emocaliber.core.errors import UserError
from tests.chat.test_answer import read
from tests.chat.test_controller import Scripted, controller_of
from tests.chat.test_session import CHOICE

HAPPY = "<answer>happy</answer><confidence>0.90</confidence>"


def stating(label: str, confidence: str) -> Answer:
    return read(f"<answer>{label}</answer><confidence>{confidence}</confidence>")


ANSWERS = [
    stating("joy", "0.90"),
    stating("awe", "0.30"),
    stating("nonsense", "0.99"),
    stating("awe", "0.80"),
    stating("joy", "?"),
]


def test_the_unreadable_come_first_and_then_the_doubtful():
    assert [answer.confidence for answer in doubtful_first(ANSWERS)] == [None, 0.3, 0.8, 0.9, 0.99]


def test_filters_choose_by_label_and_by_trust():
    assert len(filtered(ANSWERS, EVERY_LABEL, False)) == 5
    assert {answer.label for answer in filtered(ANSWERS, "awe", False)} == {"awe"}
    assert [answer.label for answer in filtered(ANSWERS, NO_LABEL, False)] == [None]
    assert not any(answer.trusted for answer in filtered(ANSWERS, EVERY_LABEL, True))


def test_both_exports_hold_every_answer_in_order():
    rows = list(csv.DictReader(io.StringIO(as_csv(ANSWERS))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["confidence"] for row in rows] == ["0.9", "0.3", "0.99", "0.8", ""]
    assert [json.loads(line)["label"] for line in as_jsonl(ANSWERS).splitlines()] == ["joy", "awe", None, "awe", "joy"]


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


def test_every_picture_has_its_answer_the_broken_and_the_foreign_ones_too(album: Path):
    names, batcher = files_of(album), Batcher(Scripted)
    gallery = Gallery(album, names)

    async def turns() -> list[list[Turn]]:
        return [part async for part in gallery.ask(CHOICE, batcher, ("joy", "awe"))]

    parts = asyncio.run(turns())
    assert [len(part) for part in parts] == [16, 4]
    answers = {turn.name: turn.read(CHOICE, 0.7) for part in parts for turn in part}
    assert list(answers) == names
    assert "not a PNG" in answers["<b>broken.png"].sentence
    assert "lies outside" in answers["link.png"].sentence
    assert str(album.parent) not in answers["link.png"].sentence
    assert answers["below/00.png"].label == "joy"
    assert sum(batcher.batches) == 18
    assert len(gallery.thumbnails) == 18
    batcher.close()


def test_the_gallery_is_asked_viewed_and_exported_for_each_session_by_itself(album: Path):
    controller = replace(controller_of(Scripted(text=HAPPY)), gallery=Gallery(album, files_of(album)))
    session, other = (controller.open()["session"] for _ in range(2))

    async def statuses() -> list[str]:
        return [event["status"] async for event in controller.ask_gallery(InSession(session))]

    assert asyncio.run(statuses())[-1] == "20 of 20 answered."
    everything = View(session, EVERY_LABEL, False, 0.7)
    turns = controller.gallery_answers(everything)
    shown = controller.view(turns, everything)
    assert (shown["total"], len(shown["answers"])) == (20, 20)
    assert [answer["thumbnail"] == "" for answer in shown["answers"]] == [True, True, *[False] * 18]
    doubtful = View(session, EVERY_LABEL, True, 0.7, "jsonl")
    assert len(controller.export(turns, doubtful).splitlines()) == 2
    assert controller.gallery_answers(View(other, EVERY_LABEL, False, 0.7)) == []
