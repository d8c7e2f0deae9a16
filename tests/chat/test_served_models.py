"""`ask` and `chat` by vLLM, in process and by its OpenAI-compatible server: they say what the loaded model says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emocaliber.chat.record import FILE
from emocaliber.core.images import decode_image
from emocaliber.core.prompting import load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.generation.engine import Request
from emocaliber.generation.server_engine import ServerEngine
from emocaliber.models.location import TINY_ADAPTER, embedded_base
from tests.chat.browser import Browser
from tests.chat.conftest import page
from tests.chat.test_page import shown_json
from tests.chat.test_terminal import ask
from tests.generation.conftest import VLLM_ON_CPU
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
    return [*served, "--adapter", str(TINY_ADAPTER), "--calibration", str(TINY_ADAPTER / FILE)]


@pytest.fixture(scope="module")
def here(faces: list[Path]) -> list[dict[str, object]]:
    """What the embedded model, loaded by transformers, says about the faces."""
    return rows_of(faces)


def rows_of(faces: list[Path], *options: str) -> list[dict[str, object]]:
    done = ask(*faces, "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_same(here: list[dict[str, object]], there: list[dict[str, object]]) -> None:
    same = [ours["text"] == theirs["text"] for ours, theirs in zip(here, there, strict=True)]
    assert sum(same) >= len(here) - 1  # float sums differ in their last bits


def test_vllm_with_the_adapter_merged_says_what_transformers_says(
    here: list[dict[str, object]], faces: list[Path], monkeypatch: pytest.MonkeyPatch
):
    for name, value in VLLM_ON_CPU.items():
        monkeypatch.setenv(name, value)
    check_same(here, rows_of(faces, "--engine", "vllm"))


def test_ask_and_chat_say_by_a_server_what_the_loaded_model_says(
    here: list[dict[str, object]], options: list[str], faces: list[Path], tmp_path: Path
):
    there = rows_of(faces, *options)
    check_same(here, there)
    assert all(row["sentence"] and "held-out pictures of kaomoji" in row["record"] for row in there)
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
