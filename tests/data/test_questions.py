"""Rows with a question of their own are read as published, kept, and asked it: never without, and no other row with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.layouts import Source, layout_of
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import Note, Problem
from emocaliber.evaluation.suite import load_suite
from emocaliber.generation.asking_again import in_two_steps
from emocaliber.generation.engine import Request, Response
from emocaliber.generation.respond import respond
from emocaliber.reading import read_response
from tests.data import layout_files as files

SUITES = Path(__file__).parents[2] / "eval" / "suites"
POLARITY = {"statement": "Observers feel joy.", "label": "correct", "class": "sentiment polarity", "subclass": "none"}
SCENE = {"statement": "It is a funeral.", "label": "Incorrect", "class": "scene context", "subclass": "none"}


@pytest.fixture
def mvei(tmp_path: Path) -> Path:
    """Two images as in MVEI, one of them with two statements."""
    for number, name in enumerate(("awe/a.jpg", "fear/b.jpg")):
        files.put(tmp_path / "mvei" / "images" / name, number)
    content = [
        {"image_id": "awe/a.jpg", "ov_emotion": ["awe"], "statement_list": [POLARITY, SCENE]},
        {"image_id": "fear/b.jpg", "ov_emotion": ["fear"], "statement_list": [POLARITY | {"label": "incorrect"}]},
    ]
    (tmp_path / "mvei" / "MVEI_metadata.json").write_text(json.dumps(content))
    return tmp_path / "mvei"


def question(number: int, kind: str, options: str, answer: str, **more: object) -> dict[str, object]:
    return {
        "id": number, "image_url": "1.jpg", "question": f"Question {number}?", "options": options,
        "correct_answer": answer, "question_type": kind, "perceptual_dimension": "Valence perception",
    } | more  # fmt: skip


@pytest.fixture
def eemo(tmp_path: Path) -> Path:
    """Two questions about one picture, an open one, and one about a pair, as in EEmo-Bench."""
    files.put(tmp_path / "eemo" / "images" / "1.jpg", 1)
    single = [
        question(0, "Yes-or-No", "{'A': 'No.', 'B': 'Yes.'}", "B"),
        question(1, "What/How", "{'A': 'Joy', 'B': 'Fear', 'C': 'Disgust'}", "C"),
        {"id": 2, "image_url": "1.jpg", "question": "Why?", "correct_answer": "So.", "question_type": "Open_ended"},
    ]
    pair = question(0, "Yes-or-No", "{'A': 'No.', 'B': 'Yes.'}", "A", image1_url="1.jpg", image2_url="2.jpg")
    (tmp_path / "eemo" / "EEmo-Bench(single).json").write_text(json.dumps(single))
    (tmp_path / "eemo" / "EEmo-Bench(pair).json").write_text(json.dumps([pair]))
    return tmp_path / "eemo"


def test_each_statement_of_mvei_is_a_row_of_its_image(mvei: Path) -> None:
    assert layout_of(mvei) == "mvei"
    rows = files.read(mvei)
    assert [(row.label, row.group, row.cluster, row.split) for row in rows] == [
        ("correct", "sentiment polarity", "awe/a.jpg", "test"),
        ("incorrect", "scene context", "awe/a.jpg", "test"),
        ("incorrect", "sentiment polarity", "fear/b.jpg", "test"),
    ]
    assert {row.candidates for row in rows} == {("correct", "incorrect")}
    assert "“It is a funeral.”" in rows[1].question
    assert {row.task for row in rows} == set(load_suite(SUITES / "mvei.yaml").tasks)
    assert {row.group for row in rows} <= set(load_suite(SUITES / "mvei.yaml").groups)


def test_of_eemo_bench_the_questions_with_options_about_one_picture_are_read_and_the_others_counted(eemo: Path) -> None:
    assert layout_of(eemo) == "eemo-bench"
    rows = files.read(eemo)
    assert [(row.task, row.candidates, row.label) for row in rows] == [
        ("EEmo-yes-no", ("No", "Yes"), "Yes"),
        ("EEmo-what-how", ("Joy", "Fear", "Disgust"), "Disgust"),
    ]
    assert {(row.cluster, row.group) for row in rows} == {("1.jpg", "Valence perception")}
    notes = [str(entry) for entry in Source(str(eemo)).rows() if isinstance(entry, Note)]
    assert any("1 open questions are left out" in note for note in notes)
    assert any("1 questions about a pair of pictures are left out" in note for note in notes)
    assert {row.task for row in rows} == set(load_suite(SUITES / "eemo-bench.yaml").tasks)


@pytest.mark.parametrize(
    ("options", "answer"),
    [("__import__('os')", "A"), ("{'A': 'No'}", "A"), ("{'A': 'No', 'B': 'Yes'}", "C"), ("['No', 'Yes']", "A")],
)
def test_options_that_are_none_are_a_problem_and_never_code(eemo: Path, options: str, answer: str) -> None:
    content = [question(0, "Yes-or-No", options, answer)]
    (eemo / "EEmo-Bench(single).json").write_text(json.dumps(content))
    problems = [entry for entry in Source(str(eemo)).rows() if isinstance(entry, Problem)]
    assert [problem.kind for problem in problems] == ["entry malformed"]


class Echo:
    """Answers with the question."""

    name, concurrency, requests_per_call = "echo", 1, 8

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        return [Response(request.sample_id, request.prompt, "stop") for request in requests]


def asked(rows: list[Sample], template: str) -> list[str]:
    return [response.text for response in respond(rows, Echo(), load_template(template))]


def test_a_row_keeps_its_question_and_is_asked_it(mvei: Path, eemo: Path, tmp_path: Path) -> None:
    for source in (mvei, eemo):
        out = tmp_path / f"{source.name}.parquet"
        assert main(["data", "convert", str(source), "--out", str(out)]) == 0
        rows = read_samples(out)
        assert [files.with_bytes(row) for row in files.read(source)] == [files.with_bytes(row) for row in rows]
        for row, prompt in zip(rows, asked(rows, "question"), strict=True):
            assert prompt.startswith(f"{row.question} Choose one of: {', '.join(row.candidates)}.")


def test_a_question_is_never_left_out_and_never_missing(mvei: Path, tmp_path: Path) -> None:
    files.by_class(tmp_path / "photos", "joy", "fear")
    with pytest.raises(UserError, match=r"some rows have their own question.*use the template 'question'"):
        asked(files.read(mvei), "label")
    with pytest.raises(UserError, match="some rows have no question; add a column 'question'"):
        asked(files.read(tmp_path / "photos"), "question")
    with pytest.raises(UserError, match="without the rows' own questions; leave --then out"):
        in_two_steps(load_template("question"), load_template("self-report-confidence"))


@pytest.mark.parametrize("label", ["correct", "incorrect"])
def test_the_verdicts_are_told_apart(label: str) -> None:
    text = f"<answer>{label.capitalize()}</answer><confidence>0.80</confidence>"
    assert read_response(text, ("correct", "incorrect")).label == label
    assert read_response(f"{label.capitalize()}.", ("correct", "incorrect")).label == label
