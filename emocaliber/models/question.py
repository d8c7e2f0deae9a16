"""The question an adapter was trained on: labels, prompt and pixel limit, stored beside it as `emocaliber.json`.

Training writes the file; whatever queries the adapter reads it, so that nobody types labels or prompt again. Imports no
torch.

    question = read_question("out/stage-1/adapter")
    question.template.render(question.tasks["kaomoji"])
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template

FILE = "emocaliber.json"


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt as `core.prompting.Template` has it, with its hash."""

    name: str
    hash: str
    prompt: str
    answer: str


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an adapter was trained to answer.

    `tasks` maps each task to its labels, in the order of the training data; `max_pixels` is the recipe's limit on what
    the model sees of a picture, or None; `stage` and `base` name the training stage and the model under the adapter.
    """

    tasks: dict[str, tuple[str, ...]]
    prompt: Prompt
    max_pixels: int | None
    stage: str
    base: str

    @property
    def template(self) -> Template:
        """The prompt to ask with."""
        return Template(self.prompt.name, self.prompt.prompt, self.prompt.answer)


def question_of(
    tasks: dict[str, tuple[str, ...]], template: Template, *, max_pixels: int | None, stage: str, base: str
) -> Question:
    """The question of a training run."""
    prompt = Prompt(template.name, template.hash, template.prompt, template.answer)
    return Question(tasks, prompt, max_pixels, stage, base)


def write_question(adapter: str | Path, question: Question) -> None:
    """Write `emocaliber.json` into the adapter's folder."""
    text = msgspec.json.format(msgspec.json.encode(question), indent=1) + b"\n"
    (Path(adapter) / FILE).write_bytes(text)


def read_question(adapter: str | Path) -> Question | None:
    """The question stored in an adapter's folder; None where there is no such file.

    Raises UserError where the file is not as `write_question` writes it, or its prompt no longer has its hash.
    """
    path = Path(adapter) / FILE
    try:
        question = msgspec.json.decode(path.read_bytes(), type=Question)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: {problem}; take the file that training wrote beside the adapter") from None
    if question.template.hash != question.prompt.hash:
        raise UserError(
            f"{path}: the prompt was edited after training (its hash is {question.template.hash}, not"
            f" {question.prompt.hash}); restore the file, or give another prompt with --template"
        )
    if not question.tasks:
        raise UserError(f"{path}: tasks is empty; take the file that training wrote beside the adapter")
    return question
