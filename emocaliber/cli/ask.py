"""The commands `ask` (in the terminal) and `chat` (in the browser), and the options they share.

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
from emocaliber.cli.console import no_progress_bars
from emocaliber.cli.options import add_api_key_argument, add_device_argument, add_reasoning_tags_argument
from emocaliber.core.errors import UserError
from emocaliber.core.images import MAX_PIXELS, SHOWN_PIXELS
from emocaliber.core.outputs import Output
from emocaliber.core.prompting import template_names
from emocaliber.core.taxonomy import MIKELS_8, TAXONOMIES

if TYPE_CHECKING:
    from starlette.routing import Route

    from emocaliber.chat.background import BackgroundAsking
    from emocaliber.chat.gallery import Gallery
    from emocaliber.chat.model import ModelChoice

PORT = 7860


def add_ask(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ask`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or WebP files")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per image to stdout and nothing else"
    )
    add_model_arguments(parser)
    parser.set_defaults(run=_ask)


def add_chat(parser: argparse.ArgumentParser) -> None:
    """The arguments of `chat`."""
    parser.add_argument("--port", type=int, default=PORT, help=f"port; 0 picks a free one (default: {PORT})")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, reachable from this machine only)",
    )
    parser.add_argument(
        "--auth",
        metavar="NAME:PASSWORD",
        help="require this user name and password; mandatory when other machines can reach the page",
    )
    parser.add_argument(
        "--gallery", type=Path, metavar="FOLDER", help="add a gallery of the images in a folder, least confident first"
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="with --gallery: let people label the images with the keyboard, and save their labels in this .jsonl file;"
        " the model is asked about them meanwhile, and what needs a look comes first",
    )
    add_model_arguments(parser)
    parser.set_defaults(run=_chat, output=_chat_output)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ask` and `chat` that choose the model and the question. Without any, the tiny model answers."""
    _add_question_arguments(parser.add_argument_group("question"))
    _add_engine_arguments(parser.add_argument_group("model"))


def _add_question_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--labels",
        metavar="NAMES",
        help='labels to choose from: a list ("joy, sadness, fear"), a taxonomy, or a task that the adapter was'
        f" trained on (default: the adapter's labels, or {MIKELS_8.name}). Taxonomies: {', '.join(TAXONOMIES)}",
    )
    group.add_argument(
        "--template",
        metavar="NAME",
        help=f"prompt template (default: the adapter's own, or {DEFAULT_TEMPLATE}): {', '.join(template_names())}",
    )
    group.add_argument(
        "--max-pixels",
        type=_positive,
        metavar="N",
        help=f"scale larger images down to N pixels in all (default: the adapter's own limit, or {SHOWN_PIXELS})",
    )
    group.add_argument(
        "--threshold",
        type=_share,
        default=DEFAULT_THRESHOLD,
        metavar="CONFIDENCE",
        help=f"mark answers as trusted from this stated confidence on, 0 to 1 (default: {DEFAULT_THRESHOLD})",
    )
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="RUN",
        help="say with each answer how often such answers were right on images like yours, as measured on held-out"
        f" data: the folder of a finished run, a file of predictions on held-out images, or a {FILE}",
    )
    group.add_argument(
        "--sets",
        type=Path,
        metavar="FILE",
        help="also show a prediction set, the labels among which the right one is with a set probability: a file"
        " written by `emocaliber recalibrate fit --map sets` (default: sets.json beside the adapter, if it is there)",
    )
    group.add_argument(
        "--doubt",
        type=Path,
        metavar="FILE",
        help="also say why an answer is in doubt, that people differ or that the image is unfamiliar: a file written by"
        " `emocaliber recalibrate fit --map doubt` (default: doubt.json beside the adapter, if it is there)",
    )


def _add_engine_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        help="model folder, Hugging Face Hub name, or tiny; with --server, the name that the server knows the model by"
        " (default: the adapter's base model; without --adapter, the model or adapter that the environment variable"
        " EMOCALIBER_MODEL names, else the embedded tiny model, which knows drawings only)",
    )
    group.add_argument(
        "--adapter",
        type=Path,
        metavar="DIR",
        help="LoRA adapter folder; with --server, only the prompt and labels that it was trained with are read from it",
    )
    group.add_argument("--server", metavar="URL", help="OpenAI-compatible server, for example http://127.0.0.1:8000")
    add_api_key_argument(group)
    group.add_argument(
        "--tokenizer",
        type=Path,
        metavar="DIR",
        help="with a vLLM server: folder of the served model; its tokenizer is needed to show label probabilities",
    )
    group.add_argument(
        "--engine",
        default="transformers",
        choices=("transformers", "vllm"),
        help="what runs the model, without --server (default: transformers)",
    )
    add_reasoning_tags_argument(group)
    add_device_argument(group)
    group.add_argument(
        "--max-new-tokens",
        type=_positive,
        metavar="N",
        help=f"longest answer, in tokens (default: {LONGEST_ANSWER}, more for templates with reasoning;"
        f" {LONGEST_TINY_ANSWER} for the tiny model)",
    )


def _ask(arguments: argparse.Namespace) -> None:
    """Ask about each image and print the answers. Raises UserError if an answer is unreadable."""
    from emocaliber.chat.terminal import ask_and_print, check_files

    check_files(arguments.images)
    no_progress_bars()
    choice = model_choice(arguments)
    ask_and_print(arguments.images, choice, threshold=arguments.threshold, as_json=arguments.json)


def _chat(arguments: argparse.Namespace) -> None:
    """Serve the page until stopped. Raises UserError if others could open it without a password."""
    try:
        from emocaliber.chat import protection, server
    except ModuleNotFoundError as missing:
        raise UserError(f"the page needs {missing.name}; install it with: pip install 'emocaliber[chat]'") from None
    from emocaliber.chat.background import BackgroundAsking
    from emocaliber.chat.batching import Batcher
    from emocaliber.chat.controller import ChatController
    from emocaliber.chat.gallery import Gallery, files_of
    from emocaliber.chat.model import looking
    from emocaliber.chat.session import Sessions

    protection.check_password(arguments.host, arguments.auth)
    no_progress_bars()
    choice, folder = model_choice(arguments), arguments.gallery
    if arguments.answers is not None and folder is None:
        raise UserError("--answers saves the labels that people give in a gallery: add --gallery FOLDER")
    gallery = None if folder is None else Gallery(folder, files_of(folder), reviewed=arguments.answers is not None)
    listening = server.bind(arguments.host, arguments.port)
    batcher = Batcher(choice.load)
    look = looking(choice)
    controller = ChatController(choice, batcher, Sessions(), arguments.threshold, gallery, look)
    hosts = protection.LOOPBACK if protection.is_loopback(arguments.host) else frozenset()
    review: list[Route] = []
    if gallery is not None and arguments.answers is not None:
        review = _review_routes(gallery, choice, arguments, BackgroundAsking(gallery, choice, batcher, look))
    application = server.build_application(controller, hosts=hosts, password=arguments.auth, more=review)
    print(f"The page: {server.address(arguments.host, listening)}  (stop it with Ctrl-C)", flush=True)
    server.serve(application, listening)
    batcher.close()


def _chat_output(arguments: argparse.Namespace) -> Output | None:
    return None if arguments.answers is None else Output(arguments.answers, is_file=True, in_steps=True)


def _review_routes(
    gallery: Gallery, choice: ModelChoice, arguments: argparse.Namespace, asking: BackgroundAsking
) -> list[Route]:
    """The routes of the page on which people label the gallery's images."""
    from emocaliber.chat.gallery_desk import GalleryDesk
    from emocaliber.chat.review_page import ReviewRoutes

    desk = GalleryDesk(gallery, choice, arguments.threshold, arguments.answers, asking)
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
