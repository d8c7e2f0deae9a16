"""`emocaliber ask`: the answers in the terminal, as text for people or as JSON for programs.

Not the page (see page), which shows the same `Answer`.

    emocaliber ask face.png --json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from emocaliber.chat.answers import Answer, read_answer
from emocaliber.chat.models import ModelChoice
from emocaliber.chat.sentences import percent
from emocaliber.core.errors import UserError
from emocaliber.core.samples import FileImage, Sample
from emocaliber.generation.respond import respond

BAR = 30
MOST_ALTERNATIVES = 5


def ask_and_print(
    images: Sequence[str], choice: ModelChoice, candidates: tuple[str, ...], *, threshold: float, as_json: bool
) -> None:
    """Ask about each named file, in order, and print its answer. Raises UserError where one has none."""
    with Console(stderr=True).status(f"loading {choice.title}"):
        engine = choice.load()
    samples = [_sample(name, candidates) for name in images]
    unanswered, console = 0, Console()
    for sample, response in zip(samples, respond(samples, engine, choice.template), strict=True):
        answer = read_answer(
            response, choice.template, candidates, name=sample.id, record=choice.record, threshold=threshold
        )
        unanswered += answer.label is None
        if as_json:
            sys.stdout.write(json.dumps(answer.as_json(), ensure_ascii=False) + "\n")
        else:
            for line in lines_of(answer):
                console.print(line)
    if choice.note and not as_json:
        console.print(Text(choice.note, style="dim"))
    if unanswered:
        raise UserError(f"{unanswered} of {len(samples)} pictures have no readable answer; the sentences say why")


def _sample(name: str, candidates: tuple[str, ...]) -> Sample:
    """The named file as a sample. An address stays one, for the reader of images to refuse."""
    path = Path(name)
    image = FileImage(path.parent, name) if "://" in name else FileImage(path.resolve().parent, path.resolve().name)
    return Sample(name, image, "", candidates, None, "", "", name)


def lines_of(answer: Answer) -> Iterator[Text]:
    """What is printed about one answer: never as markup, since a model or a file's name may hold any text."""
    yield Text(printable(answer.name), style="bold")
    if answer.label is None:
        yield Text(f"  No answer. {printable(answer.sentence)}")
        if answer.text:
            yield Text(f"  The model wrote: {printable(answer.text)}", style="dim")
        yield Text("")
        return
    stated = "no confidence" if answer.confidence is None else f"states {percent(answer.confidence)}"
    yield Text(f"  {printable(answer.label)}  {_bar(answer.confidence or 0.0)}  {stated}")
    yield Text(f"  {answer.sentence}")
    if answer.basis:
        yield Text(f"  ({answer.basis})", style="dim")
    others = [(name, share) for name, share in answer.alternatives.items() if name != answer.label and share >= 0.005]
    if others:
        listed = ", ".join(f"{printable(name)} {percent(share)}" for name, share in others[:MOST_ALTERNATIVES])
        yield Text(f"  Else: {listed} ({answer.alternatives_from})")
    for title, words in answer.reasoning.items():
        yield Text(f"  {title}: {printable(words)}")
    yield Text("")


def _bar(share: float) -> str:
    full = round(BAR * share)
    return "█" * full + "░" * (BAR - full)


def printable(text: str) -> str:
    """The text without what a terminal would obey: escape sequences and other control characters become a mark."""
    return "".join(character if character.isprintable() else " " if character.isspace() else "�" for character in text)
