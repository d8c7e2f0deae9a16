"""The server engine: any OpenAI-compatible server, or several replicas behind a list of addresses.

Images are sent as data: URIs in the request, never as URLs for the server to fetch. Each replica takes the next request
when it is free; a failed request goes to another replica. Without --enable-tower-connector-lora, vLLM's server drops an
adapter's weights on vision tower and projector, and for model classes without support it always does; only its log says
so. An adapter of a rank above 16 needs --max-lora-rank. A JSON Schema allows unlimited whitespace, in which a small
model can loop: start the server with
--structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'.

vllm serve DIR --enable-lora --enable-tower-connector-lora --lora-modules tuned=ADAPTER --host 127.0.0.1
ServerEngine(["http://127.0.0.1:8000"], "tuned", base="DIR", tokenizer="DIR")
"""

from __future__ import annotations

import base64
import difflib
import json
import os
import random
import time
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
from emocaliber.generation.engine import API_KEY_ENV, ENGINE_ERROR, OnToken, Request, Response, seed_of
from emocaliber.generation.server_replies import STREAMED, ReplyError, ServerAnswer, failure, read_reply, read_stream
from emocaliber.models.location import SWITCH

ATTEMPTS = 5
_LIMITS = ("max_tokens", "max_completion_tokens")


class ServerEngine:
    """Answers by an OpenAI-compatible chat completions API.

    `urls` are addresses with or without /v1 at the end. `model` is the served name, such as an adapter's; with `base`,
    the served name of its base model, the engine checks that the adapter changes the answers. `tokenizer`, the model's
    directory, is for vLLM's server only: with it, choices among single tokens are reported; without it, none.
    `concurrent` is the number of requests in flight at each address. `api_key_env` names the environment variable with
    the API key, if the server needs one; the key is never written to a file or message. A failed request is repeated
    after `backoff` seconds, doubled each time, or when the server says. `thinking` turns the chat template's thinking
    mode on or off; None leaves it to the server.

    Raises UserError where there is no such server at an address, or the adapter has no effect.
    """

    concurrency = 2  # the servers start on the next call while they finish this one

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
        api_key_env: str = API_KEY_ENV,
        backoff: float = 0.5,
        thinking: bool | None = None,
    ) -> None:
        self._model, self._max_new_tokens, self._temperature, self._seed = model, max_new_tokens, temperature, seed
        self._backoff, self._limit, self._key = backoff, _LIMITS[0], _api_key(api_key_env)
        self._thinking = thinking
        limits = httpx.Limits(max_connections=concurrent * len(urls) + 1)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(timeout=httpx.Timeout(timeout, connect=10.0), limits=limits, headers=headers)
        self._addresses = [self._checked_address(url) for url in urls]
        self._free: Queue[str] = Queue()
        for address in self._addresses * concurrent:
            self._free.put(address)
        self._workers = self.requests_per_call = concurrent * len(urls)
        self._choices = None if tokenizer is None else _choice_reader(tokenizer)
        self._name = f"server {model} {max_new_tokens} {temperature} {seed if temperature else ''}"
        self._name += "" if thinking is None else f" thinking {thinking}"
        if base is not None:
            try:
                check_alive(model, self._probe(base), self._probe(model))
            except ReplyError as error:
                raise UserError(f"{urls[0]}: the check of the adapter failed: {self._without_key(error)}") from None

    @property
    def name(self) -> str:
        """The served name and the settings, for a journal's key; not the addresses, whose replicas are alike."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; the servers form the batches."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._answer, requests))

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        """As `generate`, streaming all answers; a server that does not stream reports each at its end."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(partial(self._answer, on_token=on_token), requests))

    def _answer(self, request: Request, on_token: OnToken | None = None) -> Response:
        try:
            body = self._body(request)
            if on_token is None:
                return self._response(request, self._post(body))
            read = partial(read_stream, on_text=partial(on_token, request))
            return self._response(request, self._post(body | STREAMED, read))
        except (ReplyError, httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            reason = self._without_key(error)
            return Response(request.sample_id, "", ENGINE_ERROR, choices=(None,) * len(request.choices), error=reason)

    def _body(self, request: Request) -> dict[str, Any]:
        pictures = [{"type": "image_url", "image_url": {"url": data_uri(image)}} for image in request.images]
        temperature = self._temperature if request.temperature is None else request.temperature
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": request.prompt}]}],
            self._limit: self._max_new_tokens,
            "temperature": temperature,
        }
        if temperature:
            body["seed"] = seed_of(self._seed, request)
        if self._thinking is not None:  # vLLM's and SGLang's key for arguments of the chat template
            body["chat_template_kwargs"] = {SWITCH: self._thinking}
        if request.pattern:
            body["structured_outputs"] = {"regex": request.pattern}
        if request.schema:  # OpenAI's own key, which other servers know too
            schema = {"name": "answer", "strict": True, "schema": json.loads(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self._choices is not None:
            recorded = self._choices.tokens_to_record([request])
            body |= {"skip_special_tokens": False, "return_tokens_as_token_ids": True, "logprobs": True}
            body |= {"logprob_token_ids": recorded, "top_logprobs": len(recorded)} if recorded else {}
        return body

    def _post(self, body: dict[str, Any], read: Callable[[httpx.Response], ServerAnswer] = read_reply) -> ServerAnswer:
        """The server's answer. A request with a transient failure is repeated at the next free replica."""
        problem: Exception = ReplyError("nothing was asked", again=False)
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self._pause(problem, attempt))
            url = self._free.get()
            try:
                with self._client.stream("POST", f"{url}/chat/completions", json=body) as reply:
                    if reply.status_code == httpx.codes.OK:
                        return read(reply)
                    raise failure(reply)
            except ReplyError as error:
                problem = error
                if _LIMITS[0] in body and _LIMITS[1] in str(error):  # the newer name of the same setting
                    self._limit = _LIMITS[1]
                    body = {_LIMITS[1] if key == _LIMITS[0] else key: value for key, value in body.items()}
                elif not error.again:
                    raise
            except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
                problem = error
            finally:
                self._free.put(url)
        raise problem

    def _pause(self, problem: Exception, attempt: int) -> float:
        """Seconds before the next attempt: what the server asks for, else 0 while there are untried replicas."""
        if isinstance(problem, ReplyError) and problem.wait is not None:
            return problem.wait
        doublings = attempt - len(self._addresses)
        return 0.0 if doublings < 0 else self._backoff * 2.0**doublings * random.uniform(0.75, 1.25)

    def _response(self, request: Request, answer: ServerAnswer) -> Response:
        choices: tuple[tuple[float, ...] | None, ...] = (None,) * len(request.choices)
        if self._choices is not None and answer.steps:
            try:
                choices = self._read_choices(self._choices, request, answer)
            except (KeyError, TypeError, ValueError):
                choices = (None,) * len(request.choices)  # log-probabilities of another shape than vLLM's
        return Response(request.sample_id, answer.written, answer.finish_reason, answer.tokens, choices)

    def _read_choices(
        self, reader: ChoiceReader, request: Request, answer: ServerAnswer
    ) -> tuple[tuple[float, ...] | None, ...]:
        steps = answer.steps
        logs = [{_token(entry["token"]): entry["logprob"] for entry in (step, *step["top_logprobs"])} for step in steps]
        row = [_token(step["token"]) for step in steps]

        def recorded(step: int, tokens: Sequence[int]) -> list[float] | None:
            if step >= len(logs) or any(token not in logs[step] for token in tokens):
                return None
            return [logs[step][token] for token in tokens]

        return reader.read([Answer(request, answer.text, row, recorded)], None)[0]

    def _checked_address(self, url: str) -> str:
        """The address including its /v1. Raises UserError where no such server answers, or it has not this model."""
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{url}: a server's address begins with http:// or https://")
        root = url.rstrip("/").removesuffix("/chat/completions").removesuffix("/models").rstrip("/")
        reply = None
        for address in [root] if root.endswith("/v1") else [f"{root}/v1", root]:
            try:
                reply = self._client.get(f"{address}/models")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise UserError(f"{url}: no OpenAI-compatible server answers there ({error})") from None
            if reply.status_code == httpx.codes.OK:
                self._check_serves(url, reply)
                return address
            if reply.status_code != httpx.codes.NOT_FOUND:
                break
        words = self._without_key(failure(reply)) if reply is not None else ""
        raise UserError(f"{url}: no OpenAI-compatible server answers there ({words})")

    def _check_serves(self, url: str, reply: httpx.Response) -> None:
        try:
            body = reply.json()
        except ValueError:
            body = None
        listed = body.get("data", body.get("models")) if isinstance(body, dict) else body
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        served = [str(entry.get("id") or entry.get("name")) for entry in entries]
        if not served:
            words = self._without_key(ReplyError(reply.text, again=False))
            raise UserError(f"{url}: no OpenAI-compatible server answers there: its list of models is: {words}")
        if self._model not in served:
            near = difflib.get_close_matches(self._model, served, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            names = ", ".join(served[:20]) + (f" and {len(served) - 20} more" if len(served) > 20 else "")
            raise UserError(f"{url} does not serve {self._model!r}{hint}; it serves {names}")

    def _probe(self, model: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """For each probe, the five highest log-probabilities of the answer's first token."""
        rows = []
        for request in probes():
            body = self._body(request) | {"model": model, self._limit: 1, "logprobs": True, "top_logprobs": 5}
            body.pop("logprob_token_ids", None)
            steps = self._post(body).steps
            if not steps or not isinstance(steps[0].get("top_logprobs"), list):
                raise ReplyError("the server sends no log-probabilities to compare", again=False)
            rows.append(sorted(entry["logprob"] for entry in steps[0]["top_logprobs"])[:5])
        return np.array(rows)

    def _without_key(self, error: Exception) -> str:
        """The error's message without the API key, which some servers echo."""
        words = str(error) if isinstance(error, ReplyError) else f"{type(error).__name__}: {error}"
        return words.replace(self._key, "***") if self._key else words


def data_uri(image: Image.Image) -> str:
    """The image as a data: URI, losslessly as PNG."""
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _api_key(variable: str) -> str:
    """The API key from the environment; empty where the default variable is not set. Raises UserError where another
    variable is not set, or the value cannot be a key."""
    key = os.environ.get(variable, "").strip()
    if not key and variable != API_KEY_ENV:
        raise UserError(f"--api-key-env {variable}: the environment has no such variable; set it, or leave the option")
    if not key.isascii() or any(map(str.isspace, key)):
        raise UserError(f"{variable}: this is no API key: it holds spaces or characters beyond ASCII")
    return key


def _token(text: str) -> int:
    return int(text.removeprefix("token_id:"))


def _choice_reader(tokenizer: str | Path) -> ChoiceReader:
    from transformers import AutoTokenizer

    return ChoiceReader(AutoTokenizer.from_pretrained(tokenizer))
