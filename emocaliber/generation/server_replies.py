"""A server's reply, read whole or while it streams: in either case the same JSON, OpenAI's chat completion.

Not the engine (see server_engine), which makes a response of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from emocaliber.generation.engine import LENGTH

Reply = dict[str, Any]
STREAMED: Reply = {"stream": True, "stream_options": {"include_usage": True}}
"""What to add to a request's body for a reply that streams."""


def read_whole(reply: httpx.Response) -> Reply:
    """The reply's JSON. Raises ValueError where it is none."""
    reply.read()
    content: Reply = reply.json()
    return content


def read_stream(reply: httpx.Response, told: Callable[[str], bool]) -> Reply:
    """The parts put together, `told` of the text so far with each; where that returns False, as if cut off there.

    A server that answers in one piece though it was asked to stream is read whole. Raises ValueError where a part is
    no JSON or tells of an error, KeyError where it lacks what every part has.
    """
    if "text/event-stream" not in reply.headers.get("content-type", ""):
        return read_whole(reply)
    text, pieces = "", 0
    steps: list[Reply] = []
    finish_reason, usage = None, None
    for part in _parts(reply):
        usage = part.get("usage") or usage
        for choice in part["choices"][:1]:
            said = choice["delta"].get("content") or ""
            text, pieces = text + said, pieces + bool(said)
            steps += (choice.get("logprobs") or {}).get("content") or []
            finish_reason = choice.get("finish_reason") or finish_reason
            if said and not told(text):
                return _completion(text, steps, LENGTH, pieces)
    return _completion(text, steps, finish_reason, usage["completion_tokens"] if usage else pieces)


def _completion(text: str, steps: list[Reply], finish_reason: str | None, tokens: int) -> Reply:
    choice = {"finish_reason": finish_reason, "message": {"content": text}, "logprobs": {"content": steps}}
    return {"choices": [choice if steps else choice | {"logprobs": None}], "usage": {"completion_tokens": tokens}}


def _parts(reply: httpx.Response) -> Iterator[Reply]:
    """Server-sent events, one line of data each."""
    for line in reply.iter_lines():
        if not line.startswith("data:") or line[5:].strip() == "[DONE]":
            continue
        part = json.loads(line[5:])
        if "error" in part:
            raise ValueError(f"the server ended the answer with an error: {str(part['error'])[:500]}")
        yield part
