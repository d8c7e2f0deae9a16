"""Commands that ask about a few images: `ask` in the terminal and `chat` as a page, with the options they share.

emocaliber ask face.png --labels "joy, sadness, fear"
emocaliber ask --model DIR --adapter DIR --template label --calibration RUN PICTURE
emocaliber chat --port 7860
"""

from __future__ import annotations

import argparse
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from emocaliber.chat.model import DEFAULT_TEMPLATE, DEFAULT_THRESHOLD, LONGEST_ANSWER, LONGEST_TINY_ANSWER, model_choice
from emocaliber.chat.record import FILE
from emocaliber.cli.console import device, no_progress_bars
from emocaliber.core.errors import UserError
from emocaliber.core.images import MAX_PIXELS, SHOWN_PIXELS
from emocaliber.core.outputs import Output
from emocaliber.core.prompting import template_names
from emocaliber.core.taxonomy import MIKELS_8, TAXONOMIES
from emocaliber.generation.engine import API_KEY_ENV

if TYPE_CHECKING:
    from starlette.routing import Route

    from emocaliber.chat.gallery import Gallery
    from emocaliber.chat.model import ModelChoice

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
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="with --gallery: people answer with the keyboard too, and their answers are kept in this .jsonl file",
    )
    add_model_arguments(parser)
    parser.set_defaults(run=_chat, output=_chat_output)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ask` and `chat` that choose the model and the question; without any, the tiny model answers."""
    asking = parser.add_argument_group("question")
    asking.add_argument(
        "--labels",
        metavar="NAMES",
        help='emotions to choose from: a list ("joy, sadness, fear"), a taxonomy, or a task of the adapter'
        f" (default: the adapter's own, or {MIKELS_8.name}). Taxonomies: {', '.join(TAXONOMIES)}",
    )
    asking.add_argument(
        "--template",
        metavar="NAME",
        help=f"prompt template (default: the adapter's own, or {DEFAULT_TEMPLATE}): {', '.join(template_names())}",
    )
    asking.add_argument(
        "--max-pixels",
        type=_positive,
        metavar="N",
        help=f"show the model at most N pixels of a picture (default: the adapter's own, or {SHOWN_PIXELS})",
    )
    asking.add_argument(
        "--threshold",
        type=_share,
        default=DEFAULT_THRESHOLD,
        help=f"trust answers that state at least this confidence, 0 to 1 (default: {DEFAULT_THRESHOLD})",
    )
    asking.add_argument(
        "--calibration",
        type=Path,
        metavar="RUN",
        help="quote how often answers were right on pictures like yours: the folder of a finished run, a file of"
        f" predictions on held-out pictures, or a {FILE}",
    )
    asking.add_argument(
        "--sets",
        type=Path,
        metavar="FILE",
        help="also name the labels that hold the answer with a promised probability: a file that"
        " `emocaliber recalibrate fit --map sets` wrote (default: sets.json beside the adapter, if any)",
    )
    asking.add_argument(
        "--doubt",
        type=Path,
        metavar="FILE",
        help="also say why an answer is in doubt, that people differ or that the picture is unfamiliar: a file that"
        " `emocaliber recalibrate fit --map doubt` wrote (default: doubt.json beside the adapter, if any)",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", help="model folder or hub name, or tiny; with --server, the served model's name")
    model.add_argument(
        "--adapter", type=Path, metavar="DIR", help="LoRA adapter folder; with --server, only its question is read"
    )
    model.add_argument("--server", metavar="URL", help="OpenAI-compatible server, for example http://127.0.0.1:8000")
    model.add_argument(
        "--api-key-env",
        default=API_KEY_ENV,
        metavar="NAME",
        help=f"environment variable with the server's API key (default: {API_KEY_ENV})",
    )
    model.add_argument(
        "--tokenizer", type=Path, metavar="DIR", help="with a vLLM server: model folder, to show label probabilities"
    )
    model.add_argument("--engine", default="transformers", choices=("transformers", "vllm"))
    model.add_argument(
        "--reasoning-tags",
        nargs=2,
        action="append",
        default=[],
        metavar=("OPEN", "CLOSE"),
        help="what opens and closes this model's reasoning, where its name is unusual; may be repeated",
    )
    model.add_argument("--device", type=device, default="auto", help="cpu, cuda, cuda:1, mps (default: a GPU if any)")
    model.add_argument(
        "--max-new-tokens",
        type=_positive,
        metavar="N",
        help=f"longest answer in tokens (default: {LONGEST_ANSWER}; tiny model: {LONGEST_TINY_ANSWER})",
    )


def _ask(arguments: argparse.Namespace) -> None:
    """Ask about each picture and print the answers. Raises UserError where an answer is unreadable."""
    from emocaliber.chat.terminal import ask_and_print, check_files

    check_files(arguments.images)
    no_progress_bars()
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
    no_progress_bars()
    choice, folder = model_choice(arguments), arguments.gallery
    if arguments.answers is not None and folder is None:
        raise UserError("--answers keeps what people say of a gallery: give --gallery FOLDER too")
    gallery = None if folder is None else Gallery(folder, files_of(folder), reviewed=arguments.answers is not None)
    listening = server.bind(arguments.host, arguments.port)
    batcher = Batcher(choice.load)
    controller = ChatController(choice, batcher, Sessions(), arguments.threshold, gallery)
    hosts = server.LOOPBACK if server.is_loopback(arguments.host) else frozenset()
    more = [] if gallery is None or arguments.answers is None else _review_routes(gallery, choice, arguments)
    application = server.build_application(controller, hosts=hosts, password=arguments.auth, more=more)
    print(f"The page: http://{arguments.host}:{listening.getsockname()[1]}  (stop it with Ctrl-C)", flush=True)
    server.serve(application, listening)
    batcher.close()


def _chat_output(arguments: argparse.Namespace) -> Output | None:
    return None if arguments.answers is None else Output(arguments.answers, is_file=True, in_steps=True)


def _review_routes(gallery: Gallery, choice: ModelChoice, arguments: argparse.Namespace) -> list[Route]:
    """The page on which people answer the gallery's pictures."""
    from emocaliber.chat.gallery_desk import GalleryDesk
    from emocaliber.chat.review_page import ReviewRoutes

    desk = GalleryDesk(gallery, choice, arguments.threshold, arguments.answers)
    return ReviewRoutes(desk, Event()).routes("/review.html")


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_PIXELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_PIXELS:,}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value
