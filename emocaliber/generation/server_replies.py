"""What a server replies, of whatever shape: an answer, or a reason in the server's own words and whether to ask again.

OpenAI's chat completion is what most servers mean to send; gateways and proxies send other things under the same
status. A reply is read in one piece or as it streams, to the same `ServerAnswer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx

from emocaliber.generation.engine import LENGTH, STOP

STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
"""What to add to a request's body for a reply that streams."""

BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""

_CUT_SHORT = {"length", "max_tokens", "model_length", "max_length", "max_output_tokens"}
_WITHHELD = {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "refusal_filter"}
_BROKEN_OFF = {"error", "abort", "aborted", "cancelled", "timeout", "server_error"}
_LONGEST_WAIT, _LONGEST_WORDS = 300.0, 500


@dataclass(frozen=True)
class ServerAnswer:
    """What the model wrote, its reasoning apart where the server parts it off, and why it ended ("stop", "length")."""

    text: str
    reasoning: str = ""
    finish_reason: str = STOP
    tokens: int = 0
    steps: tuple[dict[str, Any], ...] = ()

    @property
    def written(self) -> str:
        """The reasoning in the tags that the reader knows, then the answer."""
        return f"<think>{self.reasoning}</think>{self.text}" if self.reasoning else self.text


class ReplyError(Exception):
    """The server gave no answer: its words, whether asking again may help, and how long it asks to wait."""

    def __init__(self, words: str, *, again: bool, wait: float | None = None) -> None:
        super().__init__(" ".join(words.split())[:_LONGEST_WORDS])
        self.again, self.wait = again, wait


def read_reply(reply: httpx.Response) -> ServerAnswer:
    """The answer in a reply of one piece. Raises ReplyError."""
    reply.read()
    return answer_of(_body(reply))


def read_stream(reply: httpx.Response, on_text: Callable[[str], bool]) -> ServerAnswer:
    """The answer put together from a stream; `on_text` gets the text so far with each part, and ends it with False.

    A server that answers in one piece though it was asked to stream is read so. Raises ReplyError where the stream
    holds an error or breaks off before its end.
    """
    if "text/event-stream" not in reply.headers.get("content-type", ""):
        return read_reply(reply)
    text, reasoning, pieces, ended, usage = "", "", 0, None, None
    steps: list[dict[str, Any]] = []
    for part in _parts(reply):
        usage = part.get("usage") or usage
        choice = _first_choice(part)
        delta = choice.get("delta")
        piece, thought = _content(delta) if isinstance(delta, dict) else ("", "")
        text, reasoning, pieces = text + piece, reasoning + thought, pieces + bool(piece)
        steps += _steps(choice)
        ended = choice.get("finish_reason") or ended
        if piece and not on_text(text):
            return ServerAnswer(text, reasoning, LENGTH, pieces, tuple(steps))
    if ended is None:
        raise ReplyError("the stream broke off before the answer's end", again=True)
    return ServerAnswer(text, reasoning, _finish(ended), _tokens(usage) or pieces, tuple(steps))


def answer_of(body: object) -> ServerAnswer:
    """The answer in a reply's JSON. Raises ReplyError where it holds none."""
    if not isinstance(body, dict):
        raise ReplyError(f"the reply is no object: {_excerpt(body)}", again=True)
    if body.get("error"):
        raise _stated_error(body["error"])
    choice = _first_choice(body)
    if not choice:
        raise ReplyError(f"the reply holds no choices: {_excerpt(body)}", again=True)
    message = choice.get("message")
    if not isinstance(message, dict):
        if isinstance(choice.get("text"), str):
            message = {"content": choice["text"]}
        else:
            raise ReplyError(f"the reply holds no message: {_excerpt(choice)}", again=True)
    text, reasoning = _content(message)
    finish = _finish(choice.get("finish_reason"))
    return ServerAnswer(text, reasoning, finish, _tokens(body.get("usage")), tuple(_steps(choice)))


def failure(reply: httpx.Response) -> ReplyError:
    """What a reply with another status than 200 means."""
    status = reply.status_code
    try:
        body = json.loads(reply.read())
        words = _words(body.get("error") or body if isinstance(body, dict) else body)
    except (ValueError, httpx.HTTPError):
        words = reply.text if reply.is_stream_consumed else ""
    hint = {
        401: "; the server wants an API key: set OPENAI_API_KEY, or name the variable that holds it with --api-key-env",
        403: "; the API key may not use this model",
        404: "; check the address and the model's name",
    }.get(status, "")
    wait = _retry_after(reply.headers.get("retry-after", ""))
    return ReplyError(f"status {status}: {words[:300]}{hint}", again=status in BUSY, wait=wait)


def _body(reply: httpx.Response) -> object:
    try:
        return json.loads(reply.content)
    except ValueError:
        raise ReplyError(f"the reply is not JSON: {_excerpt(reply.text)}", again=True) from None


def _stated_error(error: object) -> ReplyError:
    """The error that a reply of status 200 states."""
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    fatal = str(code) in {"400", "401", "402", "403", "404", "422", "invalid_api_key", "model_not_found"}
    wait = error.get("retry_after") if isinstance(error, dict) else None
    seconds = float(wait) if isinstance(wait, int | float) and not isinstance(wait, bool) else None
    return ReplyError(f"{_words(error)}{f' (code {code})' if code else ''}", again=not fatal, wait=_bounded(seconds))


def _words(error: object) -> str:
    """The server's own words, of whatever it puts them in."""
    while isinstance(error, dict):
        inner = next((error[key] for key in ("message", "detail", "error", "msg", "error_msg") if error.get(key)), None)
        if inner is None:
            break
        error = inner
    return error if isinstance(error, str) else _excerpt(error)


def _first_choice(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("error"):
        raise _stated_error(body["error"])
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _content(message: dict[str, Any]) -> tuple[str, str]:
    """Text and reasoning of a message: plain, in parts, or as the arguments of the function that it calls."""
    reasoning = next((str(v) for k in ("reasoning_content", "reasoning", "thinking") if (v := message.get(k))), "")
    content = message.get("content")
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in content]
        thought = "".join(_text_in(part.get("thinking") or part.get("reasoning")) for part in parts)
        text = "".join(_text_in(part.get("text")) for part in parts if "think" not in str(part.get("type")))
        return _clean(text), _clean(reasoning + thought)
    text = content if isinstance(content, str) else _text_in(content)
    if not text and isinstance(message.get("tool_calls"), list):
        calls = [call.get("function") for call in message["tool_calls"] if isinstance(call, dict)]
        text = "\n".join(str(call.get("arguments") or "") for call in calls if isinstance(call, dict))
    return _clean(text or _text_in(message.get("refusal"))), _clean(reasoning)


def _text_in(part: object) -> str:
    """The text of a content part, which may be a text, a list of parts, or an object with a text."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(map(_text_in, part))
    return _text_in(part.get("text", part.get("value", ""))) if isinstance(part, dict) else ""


def _clean(text: str) -> str:
    """The text as UTF-8 can hold it: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _finish(reason: object) -> str:
    """Why the answer ended. Raises ReplyError where the server withheld or broke it off."""
    name = str(reason or STOP).lower()
    if name in _WITHHELD:
        raise ReplyError(f"the server withheld the answer ({reason})", again=False)
    if name in _BROKEN_OFF:
        raise ReplyError(f"the server broke the answer off ({reason})", again=True)
    return LENGTH if name in _CUT_SHORT else STOP


def _tokens(usage: object) -> int:
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _steps(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """The log-probabilities of each token, where they were sent."""
    logprobs = choice.get("logprobs")
    steps = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _parts(reply: httpx.Response) -> Iterator[dict[str, Any]]:
    """Server-sent events, one line of data each."""
    for line in reply.iter_lines():
        if not line.startswith("data:") or not line[5:].strip() or line[5:].strip() == "[DONE]":
            continue
        try:
            part = json.loads(line[5:])
        except ValueError:
            raise ReplyError(f"a part of the stream is not JSON: {_excerpt(line[5:])}", again=True) from None
        if isinstance(part, dict):
            yield part


def _retry_after(header: str) -> float | None:
    """The seconds that a Retry-After header asks for: a number of them, or until a date."""
    try:
        return _bounded(
            float(header) if header.strip()[:1].isdigit() else parsedate_to_datetime(header).timestamp() - time()
        )
    except (ValueError, TypeError, IndexError):
        return None


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else min(_LONGEST_WAIT, max(0.0, seconds))


def _excerpt(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text[:200] or "nothing"
