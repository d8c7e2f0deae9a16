"""A Space is made with the adapter that it shows, and its app, run as it was sent, answers by that adapter."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from emocaliber.cli import main
from emocaliber.models.location import TINY_ADAPTER
from tests.chat.conftest import page
from tests.core.fake_hub import TOKEN, FakeHub

PATIENCE = 120


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The tiny adapter as a finished stage holds it."""
    shutil.copytree(TINY_ADAPTER, tmp_path / "stage" / "adapter")
    recipe = {"model": "tiny", "tuning": "lora", "stage": "calibrate", "template": "label-confidence"}
    recipe |= {"splits": ["calibrate"], "max_pixels": None, "trainer": {}}
    (tmp_path / "stage" / "done.json").write_text(json.dumps({"inputs": {"recipe": recipe, "data": {}}}))
    return tmp_path / "stage"


@pytest.mark.parametrize("options", [[], ["--push", "someone/faces", "--merge"]])
def test_a_page_without_an_adapter_on_the_hub_is_refused(
    stage: Path, options: list[str], hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(stage), "--space", "someone/page", *options, "--out", str(stage / "shared")]) == 2
    assert "give --push too, and leave out --merge" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.slow
def test_the_app_that_was_sent_answers_by_the_adapter_that_was_sent(
    stage: Path, faces: list[Path], hub: FakeHub, tmp_path: Path
) -> None:
    options = ["--push", "someone/faces", "--space", "someone/page", "--out", str(tmp_path / "shared")]
    assert main(["export", str(stage), *options]) == 0
    sent = hub.files["space", "someone/page"]
    assert hub.private == {("model", "someone/faces"): True, ("space", "someone/page"): True}
    assert set(sent) == {"app.py", "README.md", "Dockerfile"}
    settings = yaml.safe_load(sent["README.md"].decode().split("---\n")[1])
    assert (settings["sdk"], settings["app_port"], settings["models"]) == (hub.sdk, 7860, ["someone/faces"])
    (tmp_path / "app.py").write_bytes(sent["app.py"])
    command = [sys.executable, str(tmp_path / "app.py")]
    variables = {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
        "PORT": "0",
    }
    with page(tmp_path, command=command, **variables) as url, httpx.Client(base_url=url, timeout=PATIENCE) as visitor:
        assert "frame-ancestors https://huggingface.co" in visitor.get("/").headers["content-security-policy"]
        assert visitor.post("/open", headers={"origin": "https://elsewhere.org"}).status_code == 403
        behind = {"origin": "https://someone-page.hf.space", "x-forwarded-host": "someone-page.hf.space"}
        opened = visitor.post("/open", headers=behind).json()
        assert opened["model"] == "tiny with faces"
        name = opened["session"]
        picture = visitor.post("/picture", content=faces[0].read_bytes(), headers={"x-session": name, **behind})
        assert picture.status_code == 200, picture.text
        end = time.monotonic() + PATIENCE
        while visitor.get("/model").json()["loading"]:
            assert time.monotonic() < end
            time.sleep(0.5)
        question = {"session": name, "labels": ", ".join(opened["labels"]), "question": "", "threshold": 0.5}
        events = [json.loads(line) for line in visitor.post("/ask", json=question).text.splitlines()]
        answers = [event["answer"] for event in events if "answer" in event]
        assert [answer["label"] in opened["labels"] for answer in answers] == [True], events
