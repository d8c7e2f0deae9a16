"""Where resume lives: a step is a folder that is finished once for its inputs, and can be stopped at any moment.

`inputs.json` is what the step was started with, `done.json` is written last. The same inputs resume or are skipped,
others are refused by name. What a step repeats least is kept finer by others: training by its checkpoints
(emocaliber.stages.training), responses by their journal (emocaliber.generation.journal). Who may write to a folder is
decided before by emocaliber.core.outputs.

    run_step(Path("out/report"), {"rows": "1a2b"}, lambda folder: {"rows": 11})
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import RECORD

Inputs = dict[str, Any]
INPUTS, DONE = "inputs.json", "done.json"
BOOKKEEPING = {RECORD, f"{INPUTS}.partial"}
DIFFERENCES_SHOWN = 6


def run_step(folder: Path, inputs: Inputs, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Do `work(folder)` unless it is done for these inputs; return its result, which must be JSON.

    A folder that was started with the same inputs is handed over as it is, so that the work resumes. Raises UserError
    for a folder that was started with others, or that holds files and was not started as a step: nothing is removed.
    """
    inputs = json.loads(json.dumps(inputs))
    done = _read(folder / DONE)
    if done is not None and done["inputs"] == inputs:
        print(f"{folder.name}: already done")
        return dict(done["result"])
    refuse_changes(folder, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / INPUTS, inputs)
    print(f"{folder.name}:", flush=True)
    began = time.monotonic()
    result = work(folder)
    seconds = round(time.monotonic() - began, 1)
    write_json(folder / DONE, {"inputs": inputs, "result": result, "seconds": seconds})
    print(f"{folder.name}: done in {seconds:.0f} s", flush=True)
    return result


def is_done(folder: Path, inputs: Inputs) -> bool:
    """Whether the step was finished for these inputs."""
    done = _read(folder / DONE)
    return done is not None and bool(done["inputs"] == json.loads(json.dumps(inputs)))


def refuse_changes(folder: Path, inputs: Inputs) -> None:
    """Raises UserError that names the differences where the folder was started with other inputs, and for a folder of
    files that was not started as a step."""
    before = _read(folder / INPUTS)
    if before is None:
        names = (
            sorted(file.name for file in folder.iterdir() if file.name not in BOOKKEEPING) if folder.is_dir() else []
        )
        if names:
            raise UserError(f"{folder} holds {names[0]}, which this step did not write; name another --out")
        return
    if before == json.loads(json.dumps(inputs)):
        return
    old, new = _flat(before), _flat(json.loads(json.dumps(inputs)))
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    shown = "; ".join(f"{key}: {old.get(key)!r} is now {new.get(key)!r}" for key in changed[:DIFFERENCES_SHOWN])
    more = f"; and {len(changed) - DIFFERENCES_SHOWN} more" if len(changed) > DIFFERENCES_SHOWN else ""
    raise UserError(f"{folder} was started with other inputs ({shown}{more}); name another --out, or remove the folder")


def _flat(inputs: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(inputs, dict):
        return {name: inputs}
    return {
        key: value
        for part, found in inputs.items()
        for key, value in _flat(found, f"{name}.{part}" if name else str(part)).items()
    }


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
