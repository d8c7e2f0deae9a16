"""The server engine: any OpenAI-compatible server, or several replicas behind a list of addresses.

Not a client for the open internet: images travel as data: URIs inside the request, never as addresses that the
server would fetch. Each replica takes the next request when it is free; one that fails hands its request to
another. A JSON Schema allows whitespace without end, in which a small model gets lost: start vLLM's server with
--structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'.

python -m vllm.entrypoints.openai.api_server --model DIR --enable-lora --lora-modules tuned=ADAPTER --host 127.0.0.1
ServerEngine(["http://127.0.0.1:8000"], "tuned", base="DIR", tokenizer="DIR")
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import numpy as np
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.generation.adapters import check_alive, probes
from emocaliber.generation.choices import Answer, ChoiceReader
from emocaliber.generation.engine import ENGINE_ERROR, LENGTH, STOP, Heard, Request, Response, seed_of
from emocaliber.generation.server_replies import STREAMED, Reply, read_stream, read_whole

ATTEMPTS = 3
_BUSY = (429, 500, 502, 503, 504)


class ServerEngine:
    """Answers by OpenAI's chat completions.

    `model` is the served name, an adapter's for instance; `base`, the served name of the model beneath it, makes
    the engine check that the adapter changes its answers. `tokenizer`, the model's directory, is for vLLM's own
    server alone: with it choices among single tokens are reported, without it none are. `concurrent` requests are
    under way at each address.

    Raises UserError where an address does not answer, or the adapter changes nothing.
    """

    concurrency = 2  # the servers begin the next chunk while they end this one

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        *,
        base: str | None = None,
        tokenizer: str | Path | None = None,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        seed: int = 0,
        concurrent: int = 32,
        timeout: float = 600.0,
    ) -> None:
        self._model, self._max_new_tokens, self._temperature, self._seed = model, max_new_tokens, temperature, seed
        limits = httpx.Limits(max_connections=concurrent * len(urls) + 1)
        self._client = httpx.Client(timeout=httpx.Timeout(timeout, connect=10.0), limits=limits)
        self._free: Queue[str] = Queue()
        for _ in range(concurrent):
            for url in urls:
                self._free.put(url.rstrip("/"))
        self._workers = concurrent * len(urls)
        self._choices = None if tokenizer is None else _choice_reader(tokenizer)
        self._name = f"server {model} {max_new_tokens} {temperature} {seed if temperature else ''}"
        for url in urls:
            self._check_serves(url.rstrip("/"))
        if base is not None:
            check_alive(model, self._probe(base), self._probe(model))

    @property
    def name(self) -> str:
        """The served name and the settings, for a journal's key; not the addresses, whose replicas are alike."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; the servers form the batches."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._answer, requests))

    def stream(self, requests: Sequence[Request], heard: Heard) -> list[Response]:
        """As `generate`, telling of all answers as they grow; a server that does not stream is heard at the end."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(partial(self._answer, heard=heard), requests))

    def _answer(self, request: Request, heard: Heard | None = None) -> Response:
        try:
            body = self._body(request)
            if heard is None:
                return self._response(request, self._post(body))
            return self._response(
                request, self._post(body | STREAMED, partial(read_stream, told=partial(heard, request)))
            )
        except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
            reason = f"{type(error).__name__}: {error}"
            return Response(request.sample_id, "", ENGINE_ERROR, choices=(None,) * len(request.choices), error=reason)

    def _body(self, request: Request) -> dict[str, Any]:
        picture = {"type": "image_url", "image_url": {"url": data_uri(request.image)}}
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": [picture, {"type": "text", "text": request.prompt}]}],
            "max_tokens": self._max_new_tokens,
            "temperature": self._temperature,
            "seed": seed_of(self._seed, request),
        }
        if request.pattern:
            body["structured_outputs"] = {"regex": request.pattern}
        if request.schema:  # OpenAI's own key, which other servers know too
            held = {"name": "answer", "strict": True, "schema": json.loads(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": held}
        if self._choices is not None:
            recorded = self._choices.tokens_to_record([request])
            body |= {"skip_special_tokens": False, "return_tokens_as_token_ids": True, "logprobs": True}
            body |= {"logprob_token_ids": recorded, "top_logprobs": len(recorded)} if recorded else {}
        return body

    def _post(self, body: dict[str, Any], read: Callable[[httpx.Response], Reply] = read_whole) -> Reply:
        """The server's reply; a busy or broken replica's request goes to the next that is free."""
        for attempt in range(ATTEMPTS):
            url = self._free.get()
            try:
                with self._client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
                    if reply.status_code == httpx.codes.OK:
                        return read(reply)
                    problem = f"status {reply.status_code}: {reply.read()[:500].decode(errors='replace')}"
            except httpx.TransportError:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            finally:
                self._free.put(url)
            if reply.status_code not in _BUSY:
                break
        raise ValueError(problem)

    def _response(self, request: Request, reply: Reply) -> Response:
        choice = reply["choices"][0]
        if choice["finish_reason"] not in (STOP, LENGTH):
            raise ValueError(f"the server ended the answer with {choice['finish_reason']!r}")
        text, tokens = choice["message"]["content"] or "", int(reply["usage"]["completion_tokens"])
        choices: tuple[tuple[float, ...] | None, ...] = (None,) * len(request.choices)
        if self._choices is not None and choice.get("logprobs"):
            choices = self._read_choices(self._choices, request, text, choice["logprobs"]["content"])
        return Response(request.sample_id, text, choice["finish_reason"], tokens, choices)

    def _read_choices(
        self, reader: ChoiceReader, request: Request, text: str, steps: Sequence[dict[str, Any]]
    ) -> tuple[tuple[float, ...] | None, ...]:
        logs = [{_token(entry["token"]): entry["logprob"] for entry in (step, *step["top_logprobs"])} for step in steps]
        row = [_token(step["token"]) for step in steps]

        def recorded(step: int, tokens: Sequence[int]) -> list[float] | None:
            if step >= len(logs) or any(token not in logs[step] for token in tokens):
                return None
            return [logs[step][token] for token in tokens]

        return reader.read([Answer(request, text, row, recorded)], None)[0]

    def _check_serves(self, url: str) -> None:
        try:
            served = [model["id"] for model in self._client.get(f"{url}/v1/models").json()["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{url}: no OpenAI-compatible server answers there ({error})") from None
        if self._model not in served:
            raise UserError(f"{url} does not serve {self._model!r}; it serves {', '.join(served)}")

    def _probe(self, model: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """For each probe the five highest log-probabilities of the answer's first token."""
        rows = []
        for request in probes():
            body = self._body(request) | {"model": model, "max_tokens": 1, "logprobs": True, "top_logprobs": 5}
            body.pop("logprob_token_ids", None)
            first = self._post(body)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            rows.append(sorted(entry["logprob"] for entry in first)[:5])
        return np.array(rows)


def data_uri(image: Image.Image) -> str:
    """The image as a data: URI, PNG inside, pixels unchanged."""
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _token(text: str) -> int:
    return int(text.removeprefix("token_id:"))


def _choice_reader(tokenizer: str | Path) -> ChoiceReader:
    from transformers import AutoTokenizer

    return ChoiceReader(AutoTokenizer.from_pretrained(tokenizer))
