"""Commands that query a model about images: `ask` in the terminal and `chat` as a page.

emocaliber ask face.png --labels "joy, sadness, fear"
emocaliber chat --port 7860
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.chat.model import add_model_arguments, model_choice
from emocaliber.core.errors import UserError

PORT = 7860


def add_ask(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ask`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or WebP files")
    parser.add_argument("--json", action="store_true", help="write one JSON object per picture to stdout, nothing else")
    add_model_arguments(parser)
    parser.set_defaults(run=_ask)


def add_chat(parser: argparse.ArgumentParser) -> None:
    """The arguments of `chat`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"0 for any free port (default: {PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument(
        "--auth", metavar="NAME:PASSWORD", help="ask every visitor for it; required to serve other machines"
    )
    parser.add_argument(
        "--gallery", type=Path, metavar="FOLDER", help="also show the pictures of a folder, the most doubtful first"
    )
    add_model_arguments(parser)
    parser.set_defaults(run=_chat)


def _ask(arguments: argparse.Namespace) -> None:
    """Ask about each picture and print the answers. Raises UserError where an answer is unreadable."""
    from emocaliber.chat.terminal import ask_and_print, check_files

    check_files(arguments.images)
    choice = model_choice(arguments)
    ask_and_print(arguments.images, choice, threshold=arguments.threshold, as_json=arguments.json)


def _chat(arguments: argparse.Namespace) -> None:
    """Serve the page until stopped. Raises UserError where it would be open to others without a password."""
    try:
        from emocaliber.chat import server
    except ModuleNotFoundError as missing:
        raise UserError(f"the page needs {missing.name}; install it with: pip install 'emocaliber[chat]'") from None
    from emocaliber.chat.batching import Batcher
    from emocaliber.chat.controller import ChatController
    from emocaliber.chat.gallery import Gallery, files_of
    from emocaliber.chat.session import Sessions

    server.check_password(arguments.host, arguments.auth)
    choice, folder = model_choice(arguments), arguments.gallery
    gallery = None if folder is None else Gallery(folder, files_of(folder))
    listening = server.bind(arguments.host, arguments.port)
    batcher = Batcher(choice.load)
    controller = ChatController(choice, batcher, Sessions(), arguments.threshold, gallery)
    hosts = server.LOOPBACK if server.is_loopback(arguments.host) else frozenset()
    application = server.build_application(controller, hosts=hosts, password=arguments.auth)
    print(f"The page: http://{arguments.host}:{listening.getsockname()[1]}  (stop it with Ctrl-C)", flush=True)
    server.serve(application, listening)
    batcher.close()
