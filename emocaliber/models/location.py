"""Where a model or an adapter lies, and which weights it is: checked before anything is loaded, and before a hub is
queried for a local path.

check_model("out/model")                     # a folder with config.json, a hub name "owner/model", or "tiny"
check_adapter(Path("out/stage-1/adapter"))   # a folder with adapter_config.json
"""

from __future__ import annotations

import hashlib
import re
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from emocaliber.core.errors import UserError

TINY = "tiny"
TINY_ADAPTER = Path(str(files("emocaliber") / "data" / "tiny-adapter"))
TINY_NOTE = (
    "The tiny model that comes with emocaliber knows drawings only, kaomoji and emoji, and the question it was trained"
    " on. How often it is right about photographs, or anything else, is unknown: expect little."
)
MODEL_CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
_PARTS = ("*.safetensors", "*.json", "*.jinja", "*.txt")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def embedded_base() -> Path:
    """The folder of the trained tiny backbone that ships with the package."""
    return Path(str(files("emocaliber") / "data" / "tiny-base"))


def model_folder(model: str) -> str:
    """The folder or hub name to load: the embedded backbone's folder for `tiny`."""
    return str(embedded_base()) if model == TINY else model


def check_model(name: str, option: str = "--model") -> None:
    """Raises UserError where `name` is no model's folder and cannot be a hub name either.

    A name with one slash whose first part is not a folder here may be on a hub; everything else is a local path.
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
    if _HUB_NAME.fullmatch(name) and not Path(path.parts[0]).exists():
        return
    raise UserError(f"{option} {name}: no such folder{_similar(path, [TINY])}")


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
    """The first folder below, at most two levels down, that holds the file."""
    below = sorted([*folder.glob(f"*/{config}"), *folder.glob(f"*/*/{config}")])
    return f"; did you mean {below[0].parent}?" if below else ""


def _similar(path: Path, names: list[str] | None = None) -> str:
    """A similarly named neighbour, or the first missing folder on the way."""
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

    A hub name stands for itself, no model for "none". Raises FileNotFoundError where a directory holds no
    safetensors.
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
