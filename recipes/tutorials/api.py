"""A stand-in for a company's API: it looks at the mouth of a face, and is sure of itself whatever it sees.

It speaks OpenAI's protocol on this machine alone, so that the tutorial needs no account and no key. It takes a free
port, unless one is named, and writes its address to a file.

    python api.py address.txt
    python api.py address.txt 8123
"""

import base64
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

MODEL = "sure-of-itself-1"


def answer(picture: bytes) -> str:
    """What it says of a PNG or JPEG: a label, and .9 or .95."""
    image = Image.open(io.BytesIO(picture)).convert("L").resize((64, 64))
    dark = [(x, y) for x in range(14, 50) for y in range(36, 50) if image.getpixel((x, y)) < 100]
    middle = [y for x, y in dark if 29 <= x <= 35]
    sides = [y for x, y in dark if 22 <= x <= 26 or 38 <= x <= 42]
    bend = sum(middle) / max(len(middle), 1) - sum(sides) / max(len(sides), 1)
    label = "joy" if bend > 1 else "sadness" if bend < -1 else "neutral"
    return f"<answer>{label}</answer><confidence>{0.95 if abs(bend) > 3 else 0.9}</confidence>"


class Api(BaseHTTPRequestHandler):
    """GET /v1/models and POST /v1/chat/completions."""

    def do_GET(self) -> None:
        """The list of models."""
        self.send({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        """An answer to the last picture of the request."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = [part for message in request["messages"] for part in message["content"] if isinstance(part, dict)]
        picture = [part["image_url"]["url"] for part in parts if part.get("type") == "image_url"][-1]
        text = answer(base64.b64decode(picture.partition(",")[2]))
        message = {"role": "assistant", "content": text}
        self.send({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def send(self, body: Any) -> None:
        """A JSON reply."""
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def main(address: str, port: str = "0") -> None:
    """Serve until it is ended; the address is there once it can be asked."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", int(port)), Api)
    except OSError as error:
        sys.exit(f"port {port}: {error.strerror}; name another, or none for a free one")
    Path(address).write_text(f"http://127.0.0.1:{server.server_port}/v1\n")
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
