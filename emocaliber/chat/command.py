"""The verbs `ask` and `chat`: their arguments, and what they start.

emocaliber ask face.png --candidates "joy, sadness, fear"
emocaliber chat --port 7860
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.chat.address import bind, check_password, hosts_of
from emocaliber.chat.models import add_model_arguments, model_choice
from emocaliber.chat.questions import read_candidates
from emocaliber.errors import UserError
from emocaliber.taxonomy import KAOMOJI_10, MIKELS_8, TAXONOMIES

DEFAULT_THRESHOLD = 0.7
PORT = 7860


def add_ask_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ask`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or WebP files")
    _shared(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a picture, and nothing else, on stdout")


def add_chat_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `chat`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"0 for any that is free (default: {PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve on (default: this machine alone)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="asked of every visitor; needed beyond this machine")
    parser.add_argument("--gallery", type=Path, metavar="FOLDER", help="also show a folder, the most doubtful first")
    _shared(parser)


def _shared(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--taxonomy",
        choices=sorted(TAXONOMIES),
        metavar="NAME",
        help=f"the feelings to choose from: {', '.join(TAXONOMIES)} (default: {MIKELS_8.name};"
        f" {KAOMOJI_10.name} for the embedded model)",
    )
    choice.add_argument("--candidates", help='feelings of your own, separated by commas: "joy, sadness, fear"')
    parser.add_argument(
        "--threshold",
        type=_share,
        default=DEFAULT_THRESHOLD,
        help=f"the least stated confidence, 0 to 1, that is trusted (default: {DEFAULT_THRESHOLD})",
    )
    add_model_arguments(parser)


def ask(arguments: argparse.Namespace) -> None:
    """Ask about each picture and print the answers. Raises UserError where one has no answer."""
    from emocaliber.chat.terminal import ask_and_print

    ask_and_print(
        arguments.images,
        model_choice(arguments),
        _candidates(arguments),
        threshold=arguments.threshold,
        as_json=arguments.json,
    )


def chat(arguments: argparse.Namespace) -> None:
    """Serve the page until stopped. Raises UserError where it would be open to others without a password."""
    choice, candidates = model_choice(arguments), _candidates(arguments)
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


def _candidates(arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.candidates is not None:
        return read_candidates(arguments.candidates)
    if arguments.taxonomy is not None:
        return TAXONOMIES[arguments.taxonomy].labels
    return (KAOMOJI_10 if arguments.model is None else MIKELS_8).labels


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value
