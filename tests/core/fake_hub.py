"""A hub on this machine: the requests by which huggingface_hub makes a repository, fills it and fetches its files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class FakeHub:
    """What it was sent: repositories by kind and name, whether they are private, their files, and every request."""

    private: dict[tuple[str, str], bool] = field(default_factory=dict)
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    sdk: str | None = None
    refusal: str = ""
    url: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """The status and the JSON of an answer; a refusal is told to whoever asks for anything."""
        self.requests.append(f"{method} {path}")
        if self.refusal:
            return 403, {"error": self.refusal}
        parts = path.split("?", 1)[0].split("/")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if parts[3:4] == ["resolve"]:
            return 200, self.files["model", "/".join(parts[1:3])]["/".join(parts[5:])]
        if parts[2:3] in (["models"], ["datasets"], ["spaces"]):
            return 200, self._in_repository((parts[2].removesuffix("s"), "/".join(parts[3:5])), parts[5:6], body)
        return (200, {"errors": [], "warnings": []}) if path == "/api/validate-yaml" else (404, {"error": "not here"})

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        name = f"{wanted['organization']}/{wanted['name']}"
        key = wanted.get("type") or "model", name
        known, self.sdk = key in self.private, wanted.get("sdk")
        self.private.setdefault(key, wanted.get("visibility") == "private")
        return 409 if known else 200, {"url": f"{self.url}/{name}"}

    def _in_repository(self, key: tuple[str, str], what: list[str], body: bytes) -> Any:
        if what == ["preupload"]:
            names = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": each, "uploadMode": "regular", "shouldIgnore": False} for each in names]}
        if what == ["commit"]:
            entries = [entry["value"] for entry in map(json.loads, body.splitlines()) if entry["key"] == "file"]
            self.files.setdefault(key, {}).update({each["path"]: base64.b64decode(each["content"]) for each in entries})
            return {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.url}/{key[1]}/commit/{'0' * 40}"}
        if what == ["tree"]:
            sizes = {path: len(content) for path, content in self.files[key].items()}
            return [{"type": "file", "path": path, "size": size, "oid": path} for path, size in sizes.items()]
        siblings = [{"rfilename": path} for path in self.files.get(key, {})]
        return {"id": key[1], "private": self.private[key], "siblings": siblings, "sha": "0" * 40}


TOKEN = "hf_aSecretThatStandsNowhere"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """One that huggingface_hub takes for the Hub, signed in with TOKEN."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with fake_hub() as served:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.url)
        yield served


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve one on a free port."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            hub.tokens.add(self.headers.get("authorization", "").removeprefix("Bearer "))
            status, content = hub.answer(self.command, self.path, body)
            encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("x-repo-commit", "0" * 40)
            self.send_header("etag", f'"{hashlib.sha256(encoded).hexdigest()}"')
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(encoded)))
            if status == 403:
                self.send_header("x-error-message", str(content["error"]))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(encoded)

        do_GET = do_POST = do_HEAD = _any  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
