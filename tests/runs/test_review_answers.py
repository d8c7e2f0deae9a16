"""What people send back is read as they answered it, or refused with file, line or task, and key."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.samples import FileImage
from emocaliber.runs.review import Phase, open_review
from emocaliber.runs.review_answers import read_answers
from emocaliber.runs.review_files import STUDIO_FILE, studio_setup, studio_task, write_tasks
from emocaliber.runs.review_journal import UNCLEAR
from emocaliber.runs.review_rows import UNSURE, Item
from tests.runs.reviews import LABELS, TRUTH, answer_queue, begun, commanded


def test_files_that_people_send_back_are_read(tmp_path: Path):
    files = {
        "filled.csv": "id;answer\na.png;joy\nb.png;\n",
        "filled.jsonl": '{"id":"a.png","answer":"joy"}\n{"id":"b.png","answer":null}\n',
        "min.json": '[{"id":17,"row":"a.png","emotion":"joy","annotator":1}]',
        "studio.csv": "annotator,emotion,id,row\n1,joy,17,a.png\n",
        "studio.json": json.dumps(
            [
                {"id": 17, "data": {"row": "a.png"}, "annotations": [
                    {"was_cancelled": False, "result": [{"type": "choices", "value": {"choices": ["joy"]}}]}]},
                {"id": 18, "data": {"row": "b.png"}, "annotations": [{"was_cancelled": True, "result": []}]},
            ]
        ),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        assert read_answers(tmp_path / name) == {"a.png": "joy"}, name
    (tmp_path / "two.csv").write_text("id,answer\na,joy\na,fear\n")
    with pytest.raises(UserError, match=r"two\.csv, line 3: row 'a' is answered 'fear' here and 'joy' in line 2"):
        read_answers(tmp_path / "two.csv")
    (tmp_path / "none.csv").write_text("name,said\na,joy\n")
    with pytest.raises(UserError, match="no column row or id; there are name, said"):
        read_answers(tmp_path / "none.csv")


def test_label_studio_gets_the_score_that_sorts_its_queue_and_answers_come_back(predictions: Path):
    review = begun(predictions)
    answer_queue(review)
    queue = review.queue()
    pictures = {item.id: FileImage(Path("photos"), f"a b/{item.id}") for item in queue}
    write_tasks(review.folder, queue, pictures, UNCLEAR)
    tasks = json.loads((review.folder / STUDIO_FILE).read_text())
    assert tasks[5]["data"]["picture"] == f"/data/local-files/?d=a%20b/{queue[5].id}"
    assert tasks[5]["predictions"][0]["score"] == queue[5].score
    assert tasks[5]["predictions"][0]["result"][0]["value"]["choices"] == [queue[5].predicted]
    for task in tasks:
        chosen = {"type": "choices", "value": {"choices": [TRUTH[task["data"]["row"]]]}}
        task["annotations"] = [{"result": [chosen], "was_cancelled": False}]
    (predictions.parent / "export.json").write_text(json.dumps(tasks))
    review.answer(read_answers(predictions.parent / "export.json"))
    assert review.phase is Phase.DONE


def test_label_studio_s_setup_escapes_labels_and_gives_each_a_key():
    setup = studio_setup(['"<joy>"', *map(str, range(30))])
    assert "&lt;joy&gt;" in setup
    keys = re.findall(r'hotkey="(.)"', setup)
    assert len(keys) == len(set(keys)) == 20


def test_a_picture_that_is_no_file_travels_in_the_task():
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    item = Item("x", LABELS, UNSURE, 0.5, "joy", {})
    assert studio_task(item, picture.getvalue())["data"]["picture"].startswith("data:image/png;base64,")
    assert studio_task(item, None)["data"]["picture"] == "x"


STUDIO = {"data": {"row": "a.png"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["joy"]}}]}]}


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        ({"annotations": "joy"}, r"task 2, annotations: expected `array \| null`, got `str`; .* mend this key"),
        ({"annotations": [{"result": {}}]}, r"task 2, annotations\[0\]\.result: expected"),
        ({"annotations": [{"result": [{"type": "choices", "value": {}}]}]}, "task 2: row 'a.png': choices is None"),
        (
            {"annotations": [{"result": [{"type": "choices", "value": {"choices": [3]}}]}]},
            r"row 'a.png': choices is \[3\]; a list of one label is needed",
        ),
        (
            {"annotations": [{"result": [{"type": "choices", "value": {"choices": ["joy", "fear"]}}]}]},
            r"row 'a.png' has 2 choices \(joy, fear\); leave one of them",
        ),
        (
            {"annotations": [{"result": [{"type": "choices", "from_name": "mood", "value": {"choices": ["joy"]}}]}]},
            "the choice is called 'mood'; .* it is 'emotion': rename from_name",
        ),
        (
            {"annotations": [{"result": [{"type": "choices", "value": {"choices": ["fear"]}}]}]},
            "task 2: row 'a.png' is answered 'fear' here and 'joy' in task 1; leave one of them",
        ),
        ({"data": {}}, "task 2: no data.row says which row it is"),
        ({"data": None}, "task 2, data: expected `object`, got `null`"),
    ],
)
def test_an_export_that_was_edited_by_hand_is_refused_with_task_and_key(
    tmp_path: Path, edited: dict[str, Any], message: str
):
    (tmp_path / "export.json").write_text(json.dumps([STUDIO, STUDIO | edited]))
    with pytest.raises(UserError, match=message):
        read_answers(tmp_path / "export.json")


def test_other_controls_of_an_export_are_passed_over(tmp_path: Path):
    result = [
        {"type": "rating", "from_name": "quality", "value": {"rating": 3}},
        {"type": "choices", "from_name": "age", "value": {"choices": ["old", "tired"]}},
        {"type": "choices", "from_name": "emotion", "value": {"choices": ["joy"]}},
    ]
    (tmp_path / "export.json").write_text(json.dumps([STUDIO | {"annotations": [{"result": result}]}]))
    assert read_answers(tmp_path / "export.json") == {"a.png": "joy"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,answer\n{0},joy\n{0},fear\n", "line 3: row .* is answered 'fear' here and 'joy' in line 2"),
        ("id,answer\n{0},joy\n{1},joi\n", "line 3: row .*: 'joi' is not among the labels; did you mean 'joy'"),
        ("id,answer\n{0},joy\nzzz,joy\n", "line 3: there is no row 'zzz' in .*answers.jsonl"),
        ("id,answer\n{0},joy\n002.png,joy\n", "line 3: row '002.png' has the label .* already, in .*; leave it out"),
        ("id,answer\n{0},joy\n,fear\n", "line 3: 'id' is empty; write the id of the row that is 'fear'"),
        ("id,answer\n{0},joy\n{1}\n", "line 3: it has 1 fields, the header 2"),
    ],
)
def test_a_mistake_in_a_table_of_answers_is_named_with_its_line_and_nothing_is_kept(
    predictions: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
):
    review = commanded(predictions)
    table = predictions.parent / "theirs.csv"
    table.write_text(text.format(*review.record.sample))
    assert main(["review", str(review.folder), "--answers", str(table)]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"theirs\.csv, {message}", said), said
    assert open_review(review.folder).answers == {}


def test_a_person_who_stopped_in_the_middle_is_asked_about_the_rest(
    predictions: Path, capsys: pytest.CaptureFixture[str]
):
    review = commanded(predictions)
    first, *others = review.record.sample
    table = predictions.parent / "half.csv"
    table.write_text("id,answer\n" + f"{first},joy\n" + "".join(f"{name},\n" for name in others))
    assert main(["review", str(review.folder), "--answers", str(table)]) == 0
    said = capsys.readouterr().out
    assert f"1 answer, 1 of them new; {len(others)} without an answer, asked again" in said
    assert [item.id for item in open_review(review.folder).queue()] == others
