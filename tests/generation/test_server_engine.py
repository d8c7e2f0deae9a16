"""A server's replies of any shape become rows with the server's words; nothing that was answered is asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from emocaliber.cli.main import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import State
from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import ENGINE_ERROR, Request, Response
from emocaliber.generation.harness import generate
from emocaliber.generation.readouts import read_records
from emocaliber.generation.server_engine import ServerEngine
from emocaliber.generation.server_replies import ReplyError, failure
from emocaliber.reading import read_response
from tests.generation.test_harness import sample
from tests.generation.wrong_server import ANSWER, ERRORS, KINDS, READABLE, UNREADABLE, WrongServer, at_random, serving

LABELS = ("happy", "sad")
REQUEST = Request("1", Image.new("RGB", (28, 28)), "Which: happy, sad?", candidates=LABELS)
QUICK: dict[str, Any] = {"backoff": 0.001, "concurrent": 8}


@contextmanager
def engine(*kinds: str, key: str = "", **settings: Any) -> Iterator[tuple[ServerEngine, WrongServer]]:
    """An engine at a server that answers as the kinds say, the last of them for ever."""
    order = chain(kinds, repeat(kinds[-1]))
    server = WrongServer(lambda: next(order), key)
    with serving(server) as url:
        yield ServerEngine([url], "tuned", **{**QUICK, **settings}), server


def answered(*kinds: str) -> Response:
    with engine(*kinds) as (client, _):
        return client.generate([REQUEST])[0]


@pytest.mark.parametrize("kind", READABLE)
def test_an_answer_of_any_shape_is_read(kind: str) -> None:
    response = answered(kind)
    reading = read_response(response.text, LABELS, finish_reason=response.finish_reason)
    assert (reading.label, reading.confidence, reading.state) == ("happy", 0.85, State.OK)
    assert response.error == ""


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_reply_without_an_answer_is_a_row_without_a_label(kind: str) -> None:
    response = answered(kind)
    assert read_response(response.text, LABELS, finish_reason=response.finish_reason).label is None


WORDS = {"choices null": "too many requests", "choices missing": "Provider returned error", "error a text": "memory"}
WORDS |= {
    "a list": "no object",
    "null": "no object",
    "content filter": "content_filter",
    "HTML": "gateway",
    "400": "400",
}
WORDS |= {"500": "Internal error", "503": "overloaded", "half of JSON": "not JSON", "message null": "no message"}


@pytest.mark.parametrize(
    "kind", [*ERRORS, "HTML", "half of JSON", "nothing", "500", "503", "400", "breaks off", "hangs up"]
)
def test_a_failed_request_says_why_in_the_servers_words(kind: str) -> None:
    response = answered(kind)
    assert (response.finish_reason, response.text) == (ENGINE_ERROR, "")
    assert WORDS.get(kind, "") in response.error
    assert response.error


@pytest.mark.parametrize("kind", ["choices null", "null", "429", "500", "HTML", "breaks off", "hangs up"])
def test_what_may_pass_is_asked_again(kind: str) -> None:
    with engine(kind, kind, "good") as (client, server):
        assert client.generate([REQUEST])[0].text == ANSWER
        assert sum(server.kinds.values()) == 3


@pytest.mark.parametrize("kind", ["400", "content filter"])
def test_what_will_not_pass_is_asked_once(kind: str) -> None:
    with engine(kind, "good") as (client, server):
        assert client.generate([REQUEST])[0].finish_reason == ENGINE_ERROR
        assert server.kinds == {kind: 1}


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    with engine("wait", "good") as (client, server):
        assert client.generate([REQUEST])[0].text == ANSWER
    assert server.times[1] - server.times[0] >= 1.0


@pytest.mark.parametrize(
    ("header", "least", "most"), [("7", 7, 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("99999", 300, 300)]
)
def test_a_pause_is_a_number_of_seconds_or_a_date(header: str, least: float, most: float) -> None:
    problem = failure(httpx.Response(429, headers={"retry-after": header}, json={"error": "busy"}))
    assert isinstance(problem, ReplyError)
    assert problem.again
    assert problem.wait is not None
    assert least <= problem.wait <= most


def test_the_newer_name_of_a_setting_is_used_where_the_old_one_is_refused() -> None:
    with engine("old name") as (client, server):
        assert client.generate([REQUEST, REQUEST])[1].text == ANSWER
        assert server.bodies[-1]["max_completion_tokens"] == 32
        assert "max_tokens" not in server.bodies[-1]


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_an_address_is_right_with_and_without_its_version(end: str) -> None:
    server = WrongServer(lambda: "good")
    with serving(server) as url:
        assert ServerEngine([url + end], "tuned", **QUICK).generate([REQUEST])[0].text == ANSWER


def test_the_key_comes_from_the_environment_and_stands_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with engine("good", key="sk-secret", api_key_env="MY_KEY") as (client, server):
        generate([sample(1)], client, load_template("label"), tmp_path, method="m")
        assert server.authorizations == {"Bearer sk-secret"}
    assert not [path for path in tmp_path.iterdir() if "sk-secret" in path.read_text()]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with (
        pytest.raises(UserError, match=r"401: Incorrect API key provided: \*\*\*.*--api-key-env"),
        engine("good", key="k"),
    ):
        pass
    with (
        pytest.raises(UserError, match="OTHER: the environment has no such variable"),
        engine("good", api_key_env="OTHER"),
    ):
        pass


def test_an_unreachable_or_mistaken_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = WrongServer(lambda: "good", "k")
    with serving(server) as url, pytest.raises(UserError, match=r"401.*OPENAI_API_KEY"):
        ServerEngine([url], "tuned")
    server.key = ""
    with serving(server) as url:
        with pytest.raises(UserError, match=r"does not serve 'tuned2'; did you mean 'tuned'\?; it serves tuned"):
            ServerEngine([url], "tuned2")
        with pytest.raises(UserError, match="404"):
            ServerEngine([f"{url}/elsewhere"], "tuned")
        with pytest.raises(UserError, match="begins with http"):
            ServerEngine([url.removeprefix("http://")], "tuned")
        server.models = None
        with pytest.raises(UserError, match=r'its list of models is: \{"data": null\}'):
            ServerEngine([url], "tuned")
    with pytest.raises(UserError, match="no OpenAI-compatible server answers there"):
        ServerEngine([url], "tuned")


def test_of_two_thousand_requests_in_forty_wrong_ways_each_is_a_row_and_none_is_asked_again(tmp_path: Path) -> None:
    assert len(KINDS) >= 30
    samples = [sample(number) for number in range(2_000)]
    server = WrongServer(at_random(0, 0.5))
    with serving(server) as url:
        rounds = []
        for _ in range(2):
            client = ServerEngine([url], "tuned", backoff=0.0, concurrent=16)
            summary = generate(samples, client, load_template("label-confidence"), tmp_path, method="m")
            rounds.append((summary, list(read_records(tmp_path / "responses.jsonl"))))
    (first, before), (second, after) = rounds
    assert set(server.kinds) == set(KINDS)
    assert [record.id for record in before] == [row.id for row in samples] == [record.id for record in after]
    failed = [record.id for record in before if record.response.finish_reason == ENGINE_ERROR]
    assert all(record.response.error for record in before if record.id in set(failed))
    assert first.queried == 2_000 - len(failed)
    assert second.queried <= len(failed)
    answers = {record.id: record.response for record in before if record.id not in set(failed)}
    assert all(record.response == answers[record.id] for record in after if record.id in answers)


def test_a_run_in_which_nothing_was_answered_ends_with_exit_code_2_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = WrongServer(lambda: "400")
    with serving(server) as url:
        options = ["kaomoji", "--limit", "3", "--engine", "server", "--url", url, "--model", "tuned"]
        assert main(["predict", *options, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert "failed, the first so far: status 400: Provider returned error" in printed
    assert "nothing was answered: status 400" in printed
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["states"] == {"engine error": 3}


@pytest.mark.parametrize(("thinking", "sent"), [(None, None), (False, {"enable_thinking": False})])
def test_the_adapters_switch_of_thoughts_goes_to_the_servers_chat_template(thinking: bool | None, sent: object) -> None:
    with engine("good", thinking=thinking) as (client, server):
        client.generate([REQUEST])
        assert server.bodies[-1].get("chat_template_kwargs") == sent
        assert ("thinking" in client.name) is (thinking is not None)
