"""A step: work in a folder of its own that is done once for the same inputs, and can be stopped at any moment.

Not a workflow engine: a step is a folder with `inputs.json` (what it was started with) and `done.json` (written last).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Inputs = dict[str, Any]


def run_step(folder: Path, inputs: Inputs, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Do `work(folder)` unless it is done for these inputs; return its result, which must be JSON.

    A folder that was started with the same inputs is handed over as it is, so that the work goes on; one that was
    started with others is emptied first.
    """
    inputs = json.loads(json.dumps(inputs))
    done = _read(folder / "done.json")
    if done is not None and done["inputs"] == inputs:
        print(f"{folder.name}: already done")
        return dict(done["result"])
    if _read(folder / "inputs.json") != inputs:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / "inputs.json", inputs)
    print(f"{folder.name}:", flush=True)
    began = time.monotonic()
    result = work(folder)
    seconds = round(time.monotonic() - began, 1)
    write_json(folder / "done.json", {"inputs": inputs, "result": result, "seconds": seconds})
    print(f"{folder.name}: done in {seconds:.0f} s", flush=True)
    return result


def write_json(path: Path, content: Any) -> None:
    """Write beside the place, then move: a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def file_hash(path: Path) -> str:
    """The first 16 hex digits of a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
