"""`emocaliber ask`: the answers in the terminal, as text for people or as JSON for programs.

emocaliber ask face.png --json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from emocaliber.chat.answer import Answer, percent, read_answer
from emocaliber.chat.model import ModelChoice, looking
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, check_image, read_image_bytes
from emocaliber.core.samples import FileImage, Sample
from emocaliber.generation.engine import IMAGE_ERROR, Response
from emocaliber.generation.respond import respond

BAR = 30
MOST_ALTERNATIVES = 5


def check_files(names: Sequence[str]) -> None:
    """Raises UserError where a name is no file here. What is in the files is told with the answers."""
    problems = [problem for name in names if (problem := _problem(name))]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(problems[0] + more)


def _problem(name: str) -> str:
    path = Path(name)
    if "://" in name:
        return ""  # refused with the picture's own answer: an address is never opened
    if path.is_dir():
        return (
            f"{name}: this is a folder; for its pictures use `emocaliber predict {name}`, or"
            f" `emocaliber chat --gallery {name}`"
        )
    return "" if path.is_file() else f"{name}: no such file"


def ask_and_print(images: Sequence[str], choice: ModelChoice, *, threshold: float, as_json: bool) -> None:
    """Ask about each named file, in order, and print its answer. Raises UserError where an answer is unreadable."""
    samples = [_sample(name, choice.labels) for name in images]
    unanswered, console, look = 0, Console(), looking(choice)
    for sample, response in zip(samples, _responses(samples, choice), strict=True):
        features = None if look is None else look.features([sample.image])
        answer = read_answer(response, choice, choice.labels, name=sample.id, threshold=threshold, features=features)
        unanswered += answer.label is None
        if as_json:
            sys.stdout.write(json.dumps(answer.as_json(), ensure_ascii=False) + "\n")
        else:
            for line in lines_of(answer):
                console.print(line)
    if not as_json:
        for note in _notes(choice):
            console.print(Text(note, style="dim"))
    if unanswered:
        raise UserError(f"{unanswered} of {len(samples)} pictures have no readable answer; the sentences say why")


def _notes(choice: ModelChoice) -> Iterator[str]:
    if len(choice.tasks) > 1 and choice.labels == choice.label_sets[choice.tasks[0]]:
        yield f"The labels are those of {choice.tasks[0]}; for those of {choice.tasks[1]}: --labels {choice.tasks[1]}."
    if choice.note:
        yield choice.note


def _responses(samples: Sequence[Sample], choice: ModelChoice) -> Iterator[Response]:
    """The model's responses; without loading it where no file is a picture that it could be asked about."""
    problems = [_image_problem(sample) for sample in samples]
    if all(problems):
        return (Response(s.id, "", IMAGE_ERROR, error=why) for s, why in zip(samples, problems, strict=True))
    with Console(stderr=True).status(f"loading {choice.title}"):
        engine = choice.load()
    return respond(samples, engine, choice.template, max_pixels=choice.max_pixels)


def _image_problem(sample: Sample) -> str:
    """What is wrong with the file or the picture's header; empty where nothing is."""
    try:
        check_image(read_image_bytes(sample.image), sample.id)
    except ImageError as problem:
        return str(problem)
    return ""


def _sample(name: str, labels: tuple[str, ...]) -> Sample:
    """The named file as a sample. An address stays as it is, for the reader of images to refuse."""
    path = Path(name)
    image = FileImage(path.parent, name) if "://" in name else FileImage(path.resolve().parent, path.resolve().name)
    return Sample(name, image, "", labels, None, "", "", name)


def lines_of(answer: Answer) -> Iterator[Text]:
    """What is printed about an answer: never as markup, since a model or a file's name may hold any text."""
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
    yield Text(f"  {printable(answer.record)}", style="dim")
    if answer.set_sentence:
        yield Text(f"  {printable(answer.set_sentence)}")
    if answer.doubt_sentence:
        yield Text(f"  {answer.doubt_sentence}")
    others = [(name, share) for name, share in answer.alternatives.items() if name != answer.label and share >= 0.005]
    if others:
        listed = ", ".join(f"{printable(name)} {percent(share)}" for name, share in others[:MOST_ALTERNATIVES])
        yield Text(f"  Or: {listed} ({answer.alternatives_from})")
    for title, words in answer.reasoning.items():
        yield Text(f"  {title}: {printable(words)}")
    yield Text("")


def _bar(share: float) -> str:
    full = round(BAR * share)
    return "█" * full + "░" * (BAR - full)


def printable(text: str) -> str:
    """The text without what a terminal would obey: escape sequences and other control characters become a mark."""
    return "".join(character if character.isprintable() else " " if character.isspace() else "�" for character in text)
