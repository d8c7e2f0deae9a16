"""Conversations as the field writes them: VECBench and VEC-CoT (EmoCaliber, arXiv 2512.15528), and ms-swift.

Not a reader of a model's reasoning: the rationale of VEC-CoT stays in its file, only label and candidates are taken.
The layouts, one JSON object a line:

    {"conversations": [{"role": "user", "content": [{"type": "image", "image": PATH}, {"type": "text", "text": ...}]}],
     "ground_truth": "Awe", "candidates": [...], "task": "FI-8"}                      VECBench
    {"messages": [{"role": "user", "content": "<image>..."}, {"role": "assistant", "content": "awe"}],
     "images": ["a.png"]}                                                             ms-swift
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emocaliber.data.records import Given, read_record
from emocaliber.data.rows import Found, Place, Problem
from emocaliber.data.tables import Record, records, with_labels
from emocaliber.reading import read_response

TASKS = (
    "FI-2", "WebEmo-2", "FI-8", "EmoSet-8", "WebEmo-7", "WebEmo-25", "Abstract-8", "Artphoto-8", "UnbiasedEmo-6",
)  # fmt: skip
MISSPELT = {"UnbaisedEmo-6": "UnbiasedEmo-6", "ArtPhoto-8": "Artphoto-8", "EmoSet-6": "EmoSet-8"}
"""Published spellings of the same tasks: EmObserver's copy, the paper's text, VEC-CoT's figure."""
STAGES = {"stage1": "train", "stage2": "train", "stage3": "calibrate", "test": "test"}
"""VEC-CoT's files by what is in their names: what stage 3 was taught with is what we calibrate on."""

PLACEHOLDER = "<image>"


def read_vecbench(path: Path, given: Given) -> Iterator[Found]:
    """The rows of a VECBench or VEC-CoT file. The split is that of the file's name (stage1, stage2, stage3, test)."""
    split = next((split for part, split in STAGES.items() if part in path.stem.casefold()), given.split)
    for number, one in enumerate(records(path), start=1):
        if isinstance(one, Problem):
            yield one
            continue
        place, values = one
        taken = _vecbench_values(place, values)
        if isinstance(taken, Problem):
            yield taken
        else:
            yield from read_record(place, {"split": split} | taken, given, f"{path.stem}/{number}")


def read_swift(path: Path, given: Given) -> Iterator[Found]:
    """The rows of an ms-swift file; the label is what the assistant says at the end."""
    found = [] if given.labels else (_swift_values(one, given) for one in records(path))
    given = with_labels(given, found) if not given.labels else given
    for number, one in enumerate(records(path), start=1):
        taken = _swift_values(one, given)
        if isinstance(taken, Problem):
            yield taken
        else:
            yield from read_record(*taken, given, f"{path.stem}/{number}")


def _vecbench_values(place: Place, values: Mapping[str, Any]) -> dict[str, Any] | Problem:
    other = values.get("other_info")
    if isinstance(other, Mapping):  # EmObserver's copy: candidates and task one level down
        values = {**values, **other}
    task = values.get("task")
    task = MISSPELT.get(task, task) if isinstance(task, str) else task
    if task not in TASKS:
        return Problem("unknown task", place, "task", f"{task!r} is no task of VECBench",
                       f"write one of {', '.join(TASKS)}")  # fmt: skip
    for key in ("ground_truth", "candidates"):
        if values.get(key) is None:
            return Problem("key missing", place, key, "the key is missing", "take the line from the published file")
    taken = {key: values[key] for key in ("id", "ground_truth", "candidates") if key in values} | {"task": task}
    if "image_path" in values:
        return taken | {"image": values["image_path"]}
    images = _content_images(values.get("conversations"))
    if images is None:
        return Problem("conversation malformed", place, "conversations", "not a list of messages",
                       "write role and content for each, the image as {type: image, image: PATH}")  # fmt: skip
    return _one_image(place, "conversations", images) or taken | {"image": images[0]}


def _content_images(messages: object) -> list[Any] | None:
    """The images in the messages' content, in order; None where these are no messages."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) and "content" in one for one in messages):
        return None
    parts = [part for one in messages if isinstance(one["content"], list) for part in one["content"]]
    return [part.get("image") for part in parts if isinstance(part, dict) and part.get("type") == "image"]


def _one_image(place: Place, key: str, images: list[Any]) -> Problem | None:
    if len(images) == 1:
        return None
    kind, fix = ("no image named", "name one") if not images else ("several images", "ask about one image a row")
    return Problem(kind, place, key, f"{len(images)} images", fix)


def _swift_values(one: Record | Problem, given: Given) -> Record | Problem:
    if isinstance(one, Problem):
        return one
    place, values = one
    messages, images = values.get("messages"), values.get("images")
    if not isinstance(messages, list) or not all(
        isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages
    ):
        return Problem("conversation malformed", place, "messages", "not a list of messages",
                       "write role and content, both text, for each")  # fmt: skip
    images = images if isinstance(images, list) else [] if images is None else [images]
    places = sum(m["content"].count(PLACEHOLDER) for m in messages)
    if places != len(images):
        return Problem("placeholders differ", place, "images", f"{len(images)} images for {places} {PLACEHOLDER} marks",
                       f"write {PLACEHOLDER} once for each image")  # fmt: skip
    if wrong := _one_image(place, "images", images):
        return wrong
    label = _answer(messages, values.get("candidates") or given.labels)
    if label is None:
        return Problem("no label", place, "messages", "no assistant's message ends the conversation", "add the answer")
    kept = {key: value for key, value in values.items() if key not in ("messages", "images")}
    return place, kept | {"image": images[0], "label": label}


def _answer(messages: list[dict[str, str]], candidates: Any) -> str | None:
    """The last assistant's label: as the parser reads it where candidates are known, else the text itself."""
    said = [m["content"] for m in messages if m.get("role") == "assistant"]
    if not said:
        return None
    read = isinstance(candidates, list | tuple) and candidates and all(isinstance(c, str) for c in candidates)
    label = read_response(said[-1], candidates).label if read else None
    return label or said[-1].strip()
