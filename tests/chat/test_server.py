"""`ask` and `chat` with a real OpenAI-compatible server, vLLM's own: what they say is what the loaded model says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emocaliber.backbones.tiny import embedded_base
from emocaliber.chat.models import TINY_ADAPTER
from emocaliber.chat.record import FILE
from emocaliber.generation.engine import Request
from emocaliber.generation.server_engine import ServerEngine
from emocaliber.images import decode_image
from emocaliber.prompting import load_template
from emocaliber.taxonomy import KAOMOJI_10
from tests.chat.browser import Browser
from tests.chat.conftest import page
from tests.chat.test_page import shown_json
from tests.chat.test_terminal import ask
from tests.generation.test_engines_agree import server
from tests.generation.test_listening import check_stop, check_stream

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vllm_installed")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny model with its adapter, served as "tuned"."""
    log = tmp_path_factory.mktemp("served") / "log"
    with server(embedded_base(), TINY_ADAPTER, log, "--max-lora-rank", "32") as address:
        yield address


@pytest.fixture
def options(url: str) -> list[str]:
    """What a person types to be answered by that server."""
    served = ["--server", url, "--model", "tuned", "--tokenizer", str(embedded_base())]
    return [*served, "--taxonomy", KAOMOJI_10.name, "--calibration", str(TINY_ADAPTER / FILE)]


def test_ask_and_chat_say_by_a_server_what_the_loaded_model_says(options: list[str], faces: list[Path], tmp_path: Path):
    loaded, served = (ask(*faces, "--json", *more) for more in ([], options))
    assert served.returncode == loaded.returncode == 0, served.stderr
    here, there = ([json.loads(line) for line in done.stdout.splitlines()] for done in (loaded, served))
    assert len(here) == len(there) == len(faces)
    same = [one["text"] == other["text"] for one, other in zip(here, there, strict=True)]
    assert sum(same) >= len(faces) - 1  # float sums differ in their last bits
    assert all(row["sentence"] and row["basis"] for row in there)
    with page(tmp_path, *options) as address:
        user = Browser(address)
        try:
            user.give(*faces[:2])
            user.ask()
            user.shoot("by-a-server")
            assert [row["text"] for row in shown_json(user)] == [row["text"] for row in there[:2]]
        finally:
            user.close()


def test_a_server_tells_what_it_writes_and_stops_where_nobody_waits(url: str, faces: list[Path]):
    prompt = load_template("label-confidence").render(KAOMOJI_10.labels)
    requests = [Request(face.name, decode_image(face.read_bytes(), face.name), prompt) for face in faces[:6]]
    engine = ServerEngine([url], "tuned", max_new_tokens=16)
    check_stream(engine, requests)
    check_stop(engine, requests[:3])
