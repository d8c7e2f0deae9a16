"""The verb `chat`: its arguments, and the page they serve.

emocaliber chat --port 7860
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.chat.address import bind, check_password, hosts_of
from emocaliber.chat.arguments import add_shared_arguments, candidates_of
from emocaliber.chat.models import model_choice
from emocaliber.core.errors import UserError

PORT = 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--port", type=int, default=PORT, help=f"0 for any that is free (default: {PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve on (default: this machine alone)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="asked of every visitor; needed beyond this machine")
    parser.add_argument("--gallery", type=Path, metavar="FOLDER", help="also show a folder, the most doubtful first")
    add_shared_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Serve the page until stopped. Raises UserError where it would be open to others without a password."""
    choice, candidates = model_choice(arguments), candidates_of(arguments)
    check_password(arguments.host, arguments.auth)
    listening = bind(arguments.host, arguments.port)
    try:
        from emocaliber.chat import server
    except ModuleNotFoundError as missing:
        raise UserError(f"the page needs {missing.name}; install it with: pip install 'emocaliber[chat]'") from None
    from emocaliber.chat.batching import Batcher
    from emocaliber.chat.desk import Desk
    from emocaliber.chat.pictures import Waiting

    batcher = Batcher(choice.load)
    application = server.build_application(
        Desk(choice, batcher, Waiting()),
        candidates,
        arguments.threshold,
        gallery=arguments.gallery,
        hosts=hosts_of(arguments.host),
        password=arguments.auth,
    )
    print(f"The page: http://{arguments.host}:{listening.getsockname()[1]}  (stop it with Ctrl-C)", flush=True)
    server.serve(application, listening)
    batcher.close()
