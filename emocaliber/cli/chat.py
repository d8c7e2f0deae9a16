"""`emocaliber chat`: its arguments, and the page they serve.

emocaliber chat --port 7860
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.chat.model import add_model_arguments, model_choice
from emocaliber.core.errors import UserError

PORT = 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--port", type=int, default=PORT, help=f"0 for any free port (default: {PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument(
        "--auth", metavar="NAME:PASSWORD", help="ask every visitor for it; required to serve other machines"
    )
    parser.add_argument(
        "--gallery", type=Path, metavar="FOLDER", help="also show the pictures of a folder, the most doubtful first"
    )
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
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
