"""Conversations about images in the formats of other training frameworks; the last answer is the label.

    vecbench     VECBench and VEC-CoT (EmoCaliber, arXiv 2512.15528): ground_truth, candidates and task in the row
    ms-swift     {"messages": [{"role": "user", "content": "<image>..."}, ...], "images": ["a.png"]}
    trl          messages, or prompt and completion, whose content is a list of {"type": "image" | "text", ...}
    llava        {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\\n..."}, ...]}
    sharegpt     the same with "images": [...]
    alpaca       {"instruction": "<image>...", "input": "", "output": "awe", "images": ["a.png"]}; query and response,
                 or question and answer, in their place

The reasoning before the answer, in <think> or similar tags, becomes the sample's rationale. The confidences in
VEC-CoT's stage 2 are not read. Several tasks about one image form one cluster, because they are not independent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from emocaliber.data.csv_files import Record
from emocaliber.data.labels import fold
from emocaliber.data.records import read_record
from emocaliber.data.rows import RATIONALE, Defaults, Entry, Note, Place, Problem, split_named
from emocaliber.data.tables import gather_labels, records, table_files
from emocaliber.reading import answer_text, read_response, reasoning_of

TASKS = (
    "FI-2", "WebEmo-2", "FI-8", "EmoSet-8", "WebEmo-7", "WebEmo-25", "Abstract-8", "Artphoto-8", "UnbiasedEmo-6",
)  # fmt: skip
MISSPELT = {"UnbaisedEmo-6": "UnbiasedEmo-6", "ArtPhoto-8": "Artphoto-8", "EmoSet-6": "EmoSet-8"}
"""Variant spellings of the same tasks in EmObserver's copy, the paper's text and VEC-CoT's figure."""
STAGES = {"stage1": "train", "stage2": "verbalize", "stage3": "calibrate", "test": "test"}
"""The split of each VEC-CoT file, by a part of its name. Each stage has its own split; ours for stage 3 is"
" "calibrate"."""

PLACEHOLDER = "<image>"
ANSWERING = ("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard")
LONGEST_LABEL = 4
"""Words. A longer answer is a sentence, not a label, unless the labels are declared and it contains one."""
_SENTENCE = re.compile(
    r"\b(is|are|am|feels?|looks?|seems?|shows?|appears?|evokes?|emotion|answer)\b|[<>{}\[\]:,;\n]", re.IGNORECASE
)
"""What labels do not contain: verbs, tags, lists, JSON."""
_OPTION = re.compile(r"\(?[A-Ha-h1-8][).]?")
ANSWERS = (("instruction", "output"), ("query", "response"), ("question", "answer"))
"""Pairs of keys for one question and its answer."""


@dataclass(frozen=True)
class _Message:
    """A message: the speaker's role, the text, and its images; `marks` is the number of image placeholders."""

    role: str
    text: str
    images: tuple[Any, ...]
    marks: int


def layout_of_record(values: Mapping[str, Any]) -> str | None:
    """The layout of a file, by the keys of its first record; None if it is not a conversation."""
    keys = set(values)
    if "ground_truth" in keys and keys & {"conversations", "other_info"}:
        return "vecbench"
    if "messages" in keys:
        parts = [m.get("content") for m in values["messages"] or () if isinstance(m, dict)]
        return "trl" if any(isinstance(part, list) for part in parts) else "ms-swift"
    if "prompt" in keys and keys & {"completion", "chosen", "solution"}:
        return "trl"
    if "conversations" in keys:
        return "llava" if "image" in keys else "sharegpt"
    return "alpaca" if any({*pair} <= keys for pair in ANSWERS) else None


def read_vecbench(path: Path, defaults: Defaults) -> Iterator[Entry]:
    """The rows of a VECBench or VEC-CoT file, or of a folder of them. The file name gives the split (see STAGES)."""
    for file in sorted([*path.glob("*.json"), *path.glob("*.jsonl")]) if path.is_dir() else [path]:
        split = next((split for part, split in STAGES.items() if part in file.stem.casefold()), defaults.split)
        for number, record in enumerate(records(file), start=1):
            if isinstance(record, Problem):
                yield record
                continue
            values = _vecbench_values(*record)
            if isinstance(values, Problem):
                yield values
                continue
            if (answered := values.pop("answered", None)) is not None:
                said = (
                    f"the conversation answers {answered!r}, not {values['ground_truth']!r}: its rationale is left out"
                )
                yield Note("rationale of another answer", record[0], said)
            yield from read_record(record[0], {"split": split} | values, defaults, f"{file.stem}/{number}")


def read_conversations(path: Path, defaults: Defaults) -> Iterator[Entry]:
    """The rows of conversations about one image each, in a file or a folder of them; the label is the last answer."""
    files = list(conversation_files(path))
    declared = bool(defaults.labels)
    if not declared:
        read = chain.from_iterable(records(file) for file in files)
        labels, entries = gather_labels(Place(str(path)), (_values(record, defaults) for record in read))
        defaults = replace(defaults, taxonomy=None, candidates=labels)
        yield from entries
    for file in files:
        split = split_named(re.split(r"[-_.]", file.name)[0]) if len(files) > 1 else None
        own = replace(defaults, split=split or defaults.split)
        for number, record in enumerate(records(file), start=1):
            values = _values(record, own if declared else None)
            if isinstance(values, Problem):
                yield values
            else:
                yield from read_record(*values, own, f"{file.stem}/{number}")


def conversation_files(path: Path) -> Iterator[Path]:
    """The file itself, or those of a folder: its Parquet files, else its JSON files."""
    if not path.is_dir():
        yield path
        return
    yield from (list(table_files(path)) or sorted([*path.glob("*.json"), *path.glob("*.jsonl")]))


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
    content = {key: values[key] for key in ("id", "ground_truth", "candidates", *RATIONALE) if key in values}
    content["task"] = task
    if "image_path" in values:
        image = values["image_path"]
    else:
        messages = _messages(values.get("conversations"))
        if messages is None:
            return Problem("conversation malformed", place, "conversations", "not a list of messages",
                           "write role and content for each, the image as {type: image, image: PATH}")  # fmt: skip
        images = [image for message in messages for image in message.images]
        if problem := _other_than_one(place, "conversations", images):
            return problem
        image = images[0]
        content |= _vecbench_rationale(messages, values)
    return content | {"image": image} | ({"cluster": image} if isinstance(image, str) else {})


def _vecbench_rationale(messages: list[_Message], values: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's rationale. If the answer is not the true label, only what is `answered`, because training on the
    rationale would teach reasoning towards a wrong label."""
    answer, truth, candidates = _last_answer(messages), values["ground_truth"], values["candidates"]
    if answer is None or not (rationale := reasoning_of(answer)):
        return {}
    answered = read_response(answer, candidates).label if _declared(candidates) else None
    other = answered is not None and isinstance(truth, str) and fold(answered) != fold(truth)
    return {"answered": answered} if other else {RATIONALE[0]: rationale}


def _other_than_one(place: Place, key: str, images: list[Any]) -> Problem | None:
    if len(images) == 1:
        return None
    kind, fix = ("no image named", "name one") if not images else ("several images", "ask about one image a row")
    return Problem(kind, place, key, f"{len(images)} images", fix)


def _messages(value: object) -> list[_Message] | None:
    """The messages, in any of the formats; None if the value is not a list of messages."""
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        return None
    messages = []
    for message in value:
        content = message.get("content", message.get("value"))
        role = str(message.get("role", message.get("from", "")))
        if isinstance(content, str):
            messages.append(_Message(role, content, (), content.count(PLACEHOLDER)))
        elif isinstance(content, list) and all(isinstance(part, dict | str) for part in content):
            parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
            shown = [part for part in parts if part.get("type") in ("image", "image_url", "input_image")]
            named = [image for part in shown if (image := _image_in(part)) is not None]
            text = "\n".join(str(part["text"]) for part in parts if part.get("text") is not None)
            messages.append(_Message(role, text, tuple(named), len(shown) - len(named)))
        else:
            return None
    return messages


def _image_in(part: Mapping[str, Any]) -> Any:
    """The image that a part of a message names, as path, URL or mapping; None for a mere placeholder."""
    image = next((part[key] for key in ("image", "image_url", "path", "url") if part.get(key) is not None), None)
    source = part.get("source")
    if image is None and isinstance(source, Mapping) and source.get("type") == "base64":
        return f"data:{source.get('media_type', 'image/png')};base64,{source.get('data')}"
    return image["url"] if isinstance(image, Mapping) and set(image) & {"url"} else image


def _conversation(values: Mapping[str, Any]) -> tuple[str, list[_Message] | None]:
    """The key that holds the messages, and the messages."""
    if asked := next((pair for pair in ANSWERS if pair[0] in values), None):
        question = "\n".join(str(values[key]) for key in (asked[0], "input") if values.get(key))
        if asked != ANSWERS[0] and PLACEHOLDER not in question:
            question = f"{PLACEHOLDER}\n{question}"
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": values.get(asked[1])}]
        return asked[0], _messages(turns)
    if "prompt" in values:
        prompt, completion = values["prompt"], values.get("completion", values.get("solution", values.get("chosen")))
        prompt = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        completion = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        both = [*prompt, *completion] if isinstance(prompt, list) and isinstance(completion, list) else None
        return "prompt", _messages(both)
    key = "messages" if "messages" in values else "conversations"
    return key, _messages(values.get(key))


def _values(record: Record | Problem, defaults: Defaults | None) -> Record | Problem:
    """The image and the label of a conversation; `defaults` only if they declare the labels."""
    if isinstance(record, Problem):
        return record
    place, values = record
    key, messages = _conversation(values)
    if messages is None:
        return Problem("conversation malformed", place, key, "not a list of messages",
                       "write role and content (or from and value) for each, as text or as parts {type: text, text:"
                       " ...} and {type: image}")  # fmt: skip
    image = _image(place, values, messages)
    if isinstance(image, Problem):
        return image
    candidates = values.get("candidates") or (defaults.labels if defaults else ())
    label = _label(place, key, messages, values, candidates)
    if isinstance(label, Problem):
        return label
    unused = {"messages", "conversations", "images", "prompt", "completion", "input", *(k for p in ANSWERS for k in p)}
    others = {name: value for name, value in values.items() if name not in unused}
    if (answer := _last_answer(messages)) is not None and (rationale := reasoning_of(answer)):
        others.setdefault(RATIONALE[0], rationale)
    return place, others | {"image": image, "label": label}


def _label(
    place: Place, key: str, messages: list[_Message], values: Mapping[str, Any], candidates: Any
) -> str | Problem:
    """The label of a conversation; without candidates, the answer must be one, and no sentence, list or option."""
    if key == "prompt" and "chosen" in values and not {"completion", "solution"} & values.keys():
        return Problem("preference pair", place, "chosen", "an answer that is preferred need not be true",
                       "give the true label as `completion`")  # fmt: skip
    label = _answer(messages, values.get("solution"), candidates)
    if label is None:
        return Problem("no label", place, key, "no assistant's message ends the conversation", "add the answer")
    if candidates:
        return label
    label = label.strip("*_`\"'.!。 ")
    if _OPTION.fullmatch(label):
        return Problem("answer is a letter", place, key, f"{label!r} names an option of the question, and is no label",
                       "write the option itself; where it is a label, declare all: --labels")  # fmt: skip
    if len(label.split()) > LONGEST_LABEL or _SENTENCE.search(label):
        return Problem("answer is a sentence", place, key, f"{label[:60]!r} is an answer, and no label",
                       "declare the labels, to be read out of it: --labels joy,fear,...")  # fmt: skip
    return label


def _image(place: Place, values: Mapping[str, Any], messages: list[_Message]) -> Any:
    """The one image of a conversation, named beside or in its messages, or the problem."""
    named: Any = next((values[name] for name in ("images", "image") if values.get(name) is not None), [])
    beside = named if isinstance(named, list) else [named]
    inside = [image for message in messages for image in message.images]
    inside = [] if inside == beside else inside
    marks = sum(message.marks for message in messages)
    if marks != len(beside) and not (marks == 0 and (inside or len(beside) == 1)):
        return Problem("placeholders differ", place, "images", f"{len(beside)} images for {marks} {PLACEHOLDER} marks",
                       f"write {PLACEHOLDER} once for each image")  # fmt: skip
    images = [*beside, *inside]
    return _other_than_one(place, "images", images) or images[0]


def _answer(messages: list[_Message], solution: object, candidates: Any) -> str | None:
    """The label of the last answer: as the response parser reads it if candidates are declared, else the text without
    reasoning and tags."""
    answer = _last_answer(messages)
    if answer is None and isinstance(solution, str):  # ms-swift's rows for GRPO
        answer = solution
    if answer is None or not answer.strip():
        return None
    label = read_response(answer, candidates).label if _declared(candidates) else None
    return label or answer_text(answer).strip() or None


def _last_answer(messages: list[_Message]) -> str | None:
    return next((message.text for message in reversed(messages) if message.role.casefold() in ANSWERING), None)


def _declared(candidates: Any) -> bool:
    return isinstance(candidates, list | tuple) and bool(candidates) and all(isinstance(c, str) for c in candidates)
