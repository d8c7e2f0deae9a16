"""Fingerprints: which weights answered. A journal must not mix the answers of two adapters of the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path

_PARTS = ("*.safetensors", "*.json", "*.jinja", "*.txt")


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
