"""Options that do not go together are named in one sentence, before a model is loaded or a file is written."""

import json
import re
import shutil
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.images import read_image_bytes
from emocaliber.core.prediction_files import write_rows
from emocaliber.core.predictions import Prediction, Source, State, read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.models.location import QUESTION_FILE, TINY_ADAPTER, question_of, write_question
from emocaliber.reading.foreign_outputs import is_table

REFUSED = {
    "--retry-below 0.8": "--retry-below needs --temperature",
    "--samples 5": "--samples needs --temperature",
    "--retry-below 0.8 --samples 5 --temperature 1": "two methods",
    "--retry-below 0.8 --temperature 1 --template label": "asks for a confidence",
    "--template self-report-confidence": "second question",
    "--template label --then label": "quotes its label",
    "--constrain": "--engine vllm or server",
    "--constrain --engine vllm --template reasoning": "no fixed form",
    "--engine server --data-parallel 2": "several --url",
    "--data-parallel 0": "the number of engines, 1 or more",
    "--cluster slurm": "write ray, for this machine, or ray:HOST:PORT",
    "--cluster ray --url http://127.0.0.1:1": "several --url",
    "--engine vllm --gpu-memory-utilization 92": "above 0 and at most 1",
    "--reasoning-tags <a> <a>": "give what opens reasoning, then what closes it",
}


@pytest.mark.parametrize("options", REFUSED)
def test_options_that_do_not_go_together_are_refused(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["predict", "kaomoji", "--model", "none", "--out", str(out), *options.split()]) == 2
    assert REFUSED[options] in capsys.readouterr().err
    assert not out.exists()


def ask(adapter: Path, out: Path, *options: str) -> int:
    data = ["kaomoji", "--limit", "3", "--model", "tiny", "--adapter", str(adapter)]
    return main(["predict", *data, "--out", str(out), *options])


def test_an_adapter_that_does_not_say_its_question_needs_a_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(TINY_ADAPTER, adapter)
    (adapter / QUESTION_FILE).unlink()
    assert ask(adapter, tmp_path / "out") == 2
    assert f"{adapter}: no {QUESTION_FILE} there" in capsys.readouterr().err
    assert not (tmp_path / "out" / "responses.jsonl").exists()


@pytest.mark.slow
def test_an_adapter_is_asked_with_its_own_prompt_and_pixels_unless_the_options_say_otherwise(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(TINY_ADAPTER, adapter)
    label = load_template("label")
    write_question(adapter, question_of({"t": ("a", "b")}, label, max_pixels=3000, stage="label", base="tiny"))

    def manifest(name: str, *options: str) -> tuple[str, int]:
        assert ask(adapter, tmp_path / name, *options) == 0
        content = json.loads((tmp_path / name / "manifest.json").read_text())
        return content["template"]["name"], content["shown_pixels"]

    assert manifest("own") == ("label", 3000)
    assert manifest("other", "--prompt", "label-confidence", "--max-pixels", "5000") == ("label-confidence", 5000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("label-confidence", r"Scored: the stated confidences \(predictions\.jsonl\); \d of 4 are unreadable"),
        (
            "label",
            r"Scored: the token probabilities of the labels \(predictions-logprob\.jsonl\), because template",
        ),
    ],
)
def test_a_scorecard_says_what_it_judged_and_how_many_answers_were_unreadable(
    template: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"predict kaomoji --model tiny --template {template} --limit 4 --score --device cpu --out"
    assert main([*words.split(), str(tmp_path / "out")]) == 0
    assert re.search(sentence, capsys.readouterr().out)


@pytest.mark.slow
def test_a_folder_without_labels_is_a_table_by_doubt_and_a_row_for_every_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, sample in enumerate(load("kaomoji", "test")[::300][:5]):
        (photos / f"{number}.png").write_bytes(read_image_bytes(sample.image))
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "film.mp4").write_bytes(b"")
    assert main(["predict", str(photos), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    first, note, passed_over = printed.splitlines()[:3]
    assert first == f"{photos}: 6 rows, none labelled; the embedded tiny model on cpu"
    assert "drawings only" in note
    assert passed_over == "Passed over: videos (1)"
    shown = re.findall(r"^ (\S+\.(?:png|jpg)) .*?(\d+|image error)", printed, re.MULTILINE)
    assert shown[0] == ("broken.jpg", "image error")
    confidences = [int(confidence) for _, confidence in shown[1:]]
    assert confidences == sorted(confidences)
    assert len(confidences) == 5
    for suffix in (".parquet", ".jsonl", ".csv"):
        out = tmp_path / f"rows{suffix}"
        assert main(["predict", str(photos), "--device", "cpu", "--out", str(out)]) == 0
        rows = list(read_predictions(out, unlabelled=True))
        assert [row.id for row in rows] == ["0.png", "1.png", "2.png", "3.png", "4.png", "broken.jpg"]
        assert {row.truth for row in rows} == {None}
        assert rows[-1].state is State.IMAGE_ERROR
    capsys.readouterr()
    assert main(["score", str(tmp_path / "rows.parquet")]) == 2
    assert "holds no row with a label" in capsys.readouterr().err


@pytest.mark.slow
def test_only_rows_with_a_label_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["image,label"]
    for number, sample in enumerate(load("kaomoji", "test")[::300][:6]):
        (tmp_path / f"{number}.png").write_bytes(read_image_bytes(sample.image))
        lines.append(f"{number}.png,{sample.label if number < 4 else ''}")
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "rows.csv"), "--score", "--device", "cpu", "--out", str(out)]) == 0
    assert "6 rows, 4 of them labelled" in capsys.readouterr().out
    assert len(list(read_predictions(out / "predictions.jsonl", unlabelled=True))) == 6
    assert "2 rows have no label and are not judged" in (out / "scorecard.md").read_text()
    with pytest.raises(UserError, match="cannot be scored"):
        list(read_predictions(out / "predictions.jsonl"))


def test_files_of_each_kind_hold_the_same_rows(tmp_path: Path) -> None:
    rows = [
        Prediction("é,\n1", "t", "", "c", "joy", "joy", 0.25, State.OK, Source.LOGPROB, "m",
                   {"joy": 3}, {"joy": 1.0}, 0.5, 4, {"joy": 1, "awe": 2}),
        Prediction("2", "t", "g", "2", None, None, None, State.IMAGE_ERROR, Source.VERBALIZED, "m"),
    ]  # fmt: skip
    for suffix in (".parquet", ".jsonl", ".csv"):
        write_rows(tmp_path / f"rows{suffix}", iter(rows))
        assert list(read_predictions(tmp_path / f"rows{suffix}", unlabelled=True)) == rows
        assert not is_table(tmp_path / f"rows{suffix}")
