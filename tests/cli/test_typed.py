"""What people type by mistake: exit code 2 (or 0 where it is no mistake), one sentence that helps, never a traceback.

Nothing here loads a model or reaches a network: arguments are checked first.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emocaliber.cli import main
from emocaliber.core.predictions import write_predictions
from emocaliber.data.embedded import FILES
from tests.data import layout_files
from tests.prediction_rows import predictions

TINY = "recipes/tiny/1-label.yaml"
TYPED = {
    # commands
    "": "required: COMMAND",
    "scor": "did you mean 'score'?",
    "evaluate recipes/tiny/evaluate.yaml": "'evaluate' is not one of",
    "data": "required: ACTION",
    "data chek photos": "did you mean 'check'?",
    "recipe": "required: COMMAND",
    "recipe validat": "did you mean 'validate'?",
    "recalibrate fitt": "did you mean 'fit'?",
    "baseline tmc --views x.npz": "'tmc' is not one of train, features",
    "--verison": "COMMAND",
    # options
    "score predictions.jsonl --sute x.yaml": "did you mean '--suite'?",
    "score": "required: PRED",
    "run recipes/tiny": "required: --out",
    "train": "required: RECIPE",
    "predict --out o": "name what to predict on",
    "predict kaomoji --model tiny --out o --engine vlm": "did you mean 'vllm'?",
    "predict kaomoji --model tiny --out o --limit many": "invalid int value: 'many'",
    "predict kaomoji --model tiny --out o --dtype float16": "did you mean 'bfloat16'?",
    "baseline train tmcc --views x.npz --out o": "did you mean 'tmc'?",
    "recalibrate fit calibration.jsonl --map iso --out m.json": "'iso' is not one of",
    "data convert photos --layout folders --out p.parquet": "did you mean 'folder'?",
    "data convert photos --out": "expected one argument",
    "data split photos --out p.parquet --shares 3:1": "is not three or four whole numbers",
    "recipe estimate": "required: RECIPE",
    # recipes and their keys
    "run photos --out o": "this folder holds no recipes; `emocaliber recipe cp` lists",
    "run nowhere --out o": "there is no such folder of recipes",
    f"run {TINY} --out o": f"is one stage; run it with `emocaliber train {TINY}`",
    "run recipes/tiny/evaluate.yaml --out o": "needs --model",
    "train recipes/tiny --out o": "is a folder",
    "train recipes/tinny/1-label.yaml --out o": "recipes/tinny/1-label.yaml",
    "train photos.parquet --out o": "photos.parquet",
    f"train {TINY} max_step=3 --out o": "did you mean 'max_steps'?",
    f"train {TINY} max_steps --out o": "write key=value",
    f"train {TINY} data=[kaomojji] --out o": "did you mean 'kaomoji'?",
    f"train {TINY} data=[photos] --out o": "`emocaliber data convert photos --out photos.parquet`",
    f"train {TINY} data=photos.parquet --out o": "give a list such as [photos.parquet]",
    f"train {TINY} data=[notes.txt] --out o": "is not a Parquet file",
    f"train {TINY} template=lable --out o": "lable",
    f"recipe validate {TINY} lora_rr=1": "did you mean 'lora_r'?",
    f"recipe validate {TINY} learning_rate=fast": "learning_rate: 'fast' is of the wrong kind",
    "recipe validate photos": "no *.yaml lies in this folder",
    "recipe validate nowhere.yaml": "nowhere.yaml cannot be read",
    "recipe show photos": "photos is a folder",
    "recipe cp tinny": "did you mean 'tiny'?",
    "recipe cp tiny photos": "photos exists already",
    "recipe rewards brier1": "'brier1' is no reward",
    # data, models, adapters
    "predict kaomojji --model tiny --out o": "did you mean 'kaomoji'?",
    "predict photo --out o": "did you mean 'photos'?",
    "predict notes.txt --out o": "neither a picture",
    "predict photos --labels joy --out o": "is not a taxonomy",
    "predict photos --shard 5/4 --out o": "from 1/4 to 4/4",
    "predict photos --shard 1/4 --out o.csv": "give --out a folder",
    "predict photos --score": "give --out too",
    "predict --merge photos --out o": "run its shard again",
    "predict photos --url http://x": "needs --model",
    "predict phots.parquet --model tiny --out o": "did you mean 'photos.parquet'?",
    "predict kaomoji --split tets --model tiny --out o": "did you mean 'test'?",
    "predict kaomoji --model tinny --out o": "did you mean tiny?",
    "predict kaomoji --model ./nope --out o": "./nope: no such folder",
    "predict kaomoji --model photos --out o": "holds no config.json",
    "predict kaomoji --model tiny --adapter nope --out o": "--adapter nope: no such folder",
    "predict kaomoji --model tiny --adapter photos --out o": "holds no adapter_config.json",
    "predict kaomoji --model tiny --template lable --out o": "label",
    "predict kaomoji --model x --engine server --out o": "needs --url",
    "baseline features --data nope --out o": "there is no file 'nope'",
    "baseline features --out o": "give --data or --suite",
    "baseline train tmc --out o": "give --views or --suite",
    "baseline train tmc --views nope.npz --out o": "nope.npz",
    "baseline train tmc --suite eval/suites/tinny.yaml --out o": "tinny.yaml cannot be read",
    # files of predictions and others
    "score nope.jsonl": "nope.jsonl cannot be read",
    "score photos": "photos",
    "score photos.parquet": "photos.parquet",
    "score empty.jsonl": "empty.jsonl",
    "score predictions.jsonl --suite nope.yaml": "nope.yaml cannot be read",
    "score predictions.jsonl predictions.jsonl": "predictions.jsonl is given twice",
    "recalibrate fit nope.jsonl --out m.json": "nope.jsonl cannot be read",
    "recalibrate apply predictions.jsonl predictions.jsonl --out r.jsonl": "predictions.jsonl",
    "data check nope --out o": "nope",
    "data convert nope --out n.parquet": "nope",
    "data check notes.txt --out o": "notes.txt",
    "data pairs photos --out p.jsonl": "photos",
    "export photos --out o": "no stage has finished here",
    "export nope --out o": "no stage has finished here",
    "compare photos": "was not written by emocaliber",
    "compare nope": "is not a folder",
    # where to write
    "score predictions.jsonl --out notes.txt": "is a file; name a folder",
    "score predictions.jsonl --out photos": "not written by emocaliber",
    "score predictions.jsonl --out notes.txt/o": "cannot be written to",
    "recipe rewards --out photos": "is a folder; name a file in it",
    "recalibrate fit calibration.jsonl --out notes.txt": "notes.txt exists already",
    "data convert photos --out notes.txt": "notes.txt exists already",
    f"recipe rewards --out {'x' * 300}.html": "File name too long",
}
"""The words after `emocaliber`, and what the answer must say."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some images, a Parquet file, predictions, a text and an empty file."""
    made = tmp_path_factory.mktemp("typed")
    layout_files.by_class(made / "photos", "happy", "sad")
    (made / "photos.parquet").write_bytes(FILES["emoji"].read_bytes())
    (made / "notes.txt").write_text("mine")
    (made / "empty.jsonl").write_text("")
    write_predictions(made / "predictions.jsonl", predictions())
    write_predictions(made / "calibration.jsonl", predictions(seed=1))
    return made


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that opens a connection fails."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("words", TYPED, ids=lambda words: words[:60] or "nothing")
def test_a_mistake_is_answered_by_a_sentence_that_helps(
    words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    try:
        code = main(words.split())
    except SystemExit as end:
        code = int(str(end.code))
    printed = capsys.readouterr().err
    assert code == 2, printed
    assert TYPED[words] in printed
    assert printed.splitlines()[-1].startswith("emocaliber")
    assert "Traceback" not in printed
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_the_table_has_sixty_lines_and_more() -> None:
    assert len(TYPED) >= 60


def test_a_reader_that_stops_reading_is_no_error() -> None:
    """`emocaliber recipe show ... | head -1`"""
    command = [sys.executable, "-m", "emocaliber", "recipe", "show", TINY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.close()
        assert shown.stderr.read() == ""
        assert shown.wait() == 0
