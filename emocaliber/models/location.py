"""The folder of a model or an adapter: where it is, a fingerprint of its weights, and the question it was trained on.

Names are checked before anything is loaded, and before the Hub is queried for what is meant as a local path. The
question (labels, prompt and pixel limit) is stored beside an adapter as `emocaliber.json`: training writes it, and
everything that queries the adapter reads it, so that nobody has to repeat labels or prompt. Imports no torch.

    check_model("out/model")                     # a folder with config.json, a hub name "owner/model", or "tiny"
    check_adapter(Path("out/stage-1/adapter"))   # a folder with adapter_config.json
    question = read_question("out/stage-1/adapter")
    question.template.render(question.tasks["kaomoji"])
"""

from __future__ import annotations

import hashlib
import os
import re
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template

DEFAULT_MODEL = "EMOCALIBER_MODEL"  # an environment variable
TINY = "tiny"
TINY_ADAPTER = Path(str(files("emocaliber") / "data" / "tiny-adapter"))
TINY_NOTE = (
    "The tiny model that comes with emocaliber knows drawings only, kaomoji and emoji, and the question it was trained"
    " on. How often it is right about photographs, or anything else, is unknown: expect little. For photographs name a"
    " model by --model or EMOCALIBER_MODEL; scripts/train_photo_model.py trains a small one for faces."
)
MODEL_CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
_PARTS = ("*.safetensors", "*.json", "*.jinja", "*.txt")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def embedded_base() -> Path:
    """The folder of the trained tiny backbone that ships with the package."""
    return Path(str(files("emocaliber") / "data" / "tiny-base"))


def default_model() -> tuple[str | None, str | None]:
    """Model and adapter of commands that are given neither: EMOCALIBER_MODEL names either of them, or is not set.

    Raises UserError where it names neither.
    """
    named = os.environ.get(DEFAULT_MODEL) or None
    if named is None:
        return None, None
    if (Path(named) / ADAPTER_CONFIG).is_file():
        return None, named
    check_model(named, DEFAULT_MODEL)
    return named, None


def model_folder(model: str) -> str:
    """The folder or hub name to load: the embedded backbone's folder for `tiny`."""
    return str(embedded_base()) if model == TINY else model


def check_model(name: str, option: str = "--model") -> None:
    """Raises UserError where `name` is neither a model's folder nor possibly a Hub name.

    A name with one slash whose first part is not a local folder may be on the Hub; everything else is a local path.
    """
    path = Path(name)
    if name == TINY:
        return
    if path.is_dir():
        if (path / MODEL_CONFIG).is_file():
            return
        if (path / ADAPTER_CONFIG).is_file():
            raise UserError(
                f"{option} {name}: this is an adapter; give it as --adapter {name}, and its base as --model"
            )
        raise UserError(f"{option} {name}: the folder holds no {MODEL_CONFIG}{_beneath(path, MODEL_CONFIG)}")
    if path.exists():
        raise UserError(f"{option} {name}: this is a file; give the folder that holds the model's {MODEL_CONFIG}")
    if on_hub(name):
        return
    raise UserError(f"{option} {name}: no such folder{_similar(path, [TINY])}")


def on_hub(name: str) -> bool:
    """Whether `name` can be a Hub name: one slash, and a first part that is not a local folder."""
    return _HUB_NAME.fullmatch(name) is not None and not Path(Path(name).parts[0]).exists()


def check_adapter(path: Path, option: str = "--adapter") -> None:
    """Raises UserError where `path` is not the folder of a PEFT adapter."""
    if (path / ADAPTER_CONFIG).is_file():
        return
    if path.is_dir():
        if (path / MODEL_CONFIG).is_file():
            raise UserError(f"{option} {path}: this is a model, not an adapter; give it as --model {path}")
        raise UserError(f"{option} {path}: the folder holds no {ADAPTER_CONFIG}{_beneath(path, ADAPTER_CONFIG)}")
    if path.exists():
        raise UserError(f"{option} {path}: this is a file; give the folder that holds {ADAPTER_CONFIG}")
    raise UserError(f"{option} {path}: no such folder{_similar(path)}")


def _beneath(folder: Path, config: str) -> str:
    """A hint at the first folder, at most two levels down, that holds the file."""
    below = sorted([*folder.glob(f"*/{config}"), *folder.glob(f"*/*/{config}")])
    return f"; did you mean {below[0].parent}?" if below else ""


def _similar(path: Path, names: list[str] | None = None) -> str:
    """A hint at a similarly named sibling, or at the first folder of the path that is missing."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    siblings = [str(each) for each in missing.parent.iterdir() if each.is_dir()] if missing.parent.is_dir() else []
    close = get_close_matches(str(missing), [*(names or []), *siblings], n=1)
    if close:
        return f"; did you mean {Path(close[0]) / path.relative_to(missing)}?"
    return "" if missing == path else f" ({missing} is missing)"


def fingerprint(model: str | Path | None) -> str:
    """The first 16 hex digits of the SHA-256 over a local model's or adapter's files, by name and content.

    A Hub name is returned as it is, None as "none". Raises FileNotFoundError for a directory without safetensors.
    """
    if model is None:
        return "none"
    directory = Path(model)
    if not directory.is_dir():
        return str(model)
    files = sorted({file for part in _PARTS for file in directory.glob(part)})
    if not any(file.suffix == ".safetensors" for file in files):
        raise FileNotFoundError(f"{directory} holds no *.safetensors; is it a model's or an adapter's directory?")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(file.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


QUESTION_FILE = "emocaliber.json"
SWITCH = "enable_thinking"
"""What chat templates call thoughts before the answer."""


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt as `core.prompting.Template` has it, with its hash."""

    name: str
    hash: str
    prompt: str
    answer: str


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an adapter was trained to answer.

    `tasks` maps each task to its labels, in the order of the training data; `max_pixels` is the recipe's limit on a
    picture's pixels, or None; `stage` and `base` name the training stage and the base model; `thinking` is the chat
    template's thinking mode, or None for the template's default.
    """

    tasks: dict[str, tuple[str, ...]]
    prompt: Prompt
    max_pixels: int | None
    stage: str
    base: str
    thinking: bool | None = None

    @property
    def template(self) -> Template:
        """The prompt to ask with."""
        return Template(self.prompt.name, self.prompt.prompt, self.prompt.answer)


def question_of(
    tasks: dict[str, tuple[str, ...]],
    template: Template,
    *,
    max_pixels: int | None,
    stage: str,
    base: str,
    thinking: bool | None = None,
) -> Question:
    """The question of a training run."""
    prompt = Prompt(template.name, template.hash, template.prompt, template.answer)
    return Question(tasks, prompt, max_pixels, stage, base, thinking)


def write_question(adapter: str | Path, question: Question) -> None:
    """Write `emocaliber.json` into the adapter's folder."""
    text = msgspec.json.format(msgspec.json.encode(question), indent=1) + b"\n"
    (Path(adapter) / QUESTION_FILE).write_bytes(text)


def read_question(adapter: str | Path) -> Question | None:
    """The question stored in an adapter's folder; None where there is no such file.

    Raises UserError where the file is not as `write_question` writes it, or its prompt no longer has its hash.
    """
    path = Path(adapter) / QUESTION_FILE
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
