"""A Space on the Hugging Face Hub that serves the chat page with an adapter from the Hub.

The Space's app is one file of two statements; the files beside it are its Dockerfile and its card. The page is open to
whoever may see the Space, unless the secret PAGE_AUTH is set to NAME:PASSWORD.

    emocaliber export out/3-calibrate --out out/to-share --push OWNER/MODEL --space OWNER/PAGE
    python app.py                                # the same page on this machine, port 7860
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from emocaliber import __version__
from emocaliber.chat.model import DEFAULT_THRESHOLD, model_choice
from emocaliber.cli.ask import PORT, add_model_arguments
from emocaliber.cli.console import CommandParser, no_progress_bars, silence_libraries

AUTH, ALL_INTERFACES = "PAGE_AUTH", "0.0.0.0"  # requests come through the Hub's proxy, from another machine
HUB_PAGE = "https://huggingface.co"

APP = '''\
"""The chat page of emocaliber, with {model}: which emotion a picture conveys, and how sure the model is.

    python app.py                # on this machine: http://127.0.0.1:{port}
"""

from emocaliber.cli.space import serve

serve("{model}")
'''
CARD = """\
---
title: "{title}"
emoji: 🎭
sdk: docker
app_port: {port}
models: [{model}]
---
A chat page for [{model}]({hub}/{model}), made by `emocaliber export --space`. Pictures are kept in memory only, never
stored. A face does not reveal what a person feels: the model predicts what annotators said about pictures.
"""
BUILD = """\
FROM python:3.12-slim
RUN pip install --no-cache-dir "emocaliber[chat]=={version}"
ENV HF_HOME=/tmp/hub
COPY app.py .
CMD ["python", "app.py"]
"""


def write_space(folder: Path, model: str) -> None:
    """Write the files of a Space that serves the chat page with `model`, the OWNER/NAME of an adapter on the Hub."""
    values = {"model": model, "title": model.partition("/")[2], "port": PORT, "hub": HUB_PAGE, "version": __version__}
    for name, template in (("app.py", APP), ("README.md", CARD), ("Dockerfile", BUILD)):
        (folder / name).write_text(template.format(**values), encoding="utf-8")


def serve(model: str) -> None:
    """Download the adapter and serve its page until stopped, on port $PORT or 7860."""
    silence_libraries()
    no_progress_bars()
    from huggingface_hub import snapshot_download

    from emocaliber.chat import server
    from emocaliber.chat.batching import Batcher
    from emocaliber.chat.controller import ChatController
    from emocaliber.chat.session import Sessions

    with tempfile.TemporaryDirectory(prefix="emocaliber-") as folder:
        adapter = snapshot_download(model, local_dir=Path(folder) / model.partition("/")[2])
        parser = CommandParser(prog="app.py")
        add_model_arguments(parser)
        choice = model_choice(parser.parse_args(["--adapter", adapter]))
        listening = server.bind(ALL_INTERFACES, int(os.environ.get("PORT", PORT)))
        batcher = Batcher(choice.load)
        controller = ChatController(choice, batcher, Sessions(), DEFAULT_THRESHOLD, None)
        application = server.build_application(
            controller, hosts=frozenset(), password=os.environ.get(AUTH), framed_by=HUB_PAGE
        )
        print(f"The page: http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        server.serve(application, listening)
        batcher.close()
