"""Prompting: the question and the exact format of the expected answer. One template per file, in `prompts/` or your
own.

This module defines what a well-trained model should write; `emocaliber.reading` parses what a model really wrote.

    python -m emocaliber.core.prompting            # print every template with its hash
    emocaliber predict SOURCE --prompt mine.yaml    # use a template of your own (its format: prompts/README.md)
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.files import read_mapping, shipped_folder

LEVELS: tuple[float, ...] = tuple(level / 20 for level in range(21))
"""The confidence levels that the trained templates state, 0.00 to 1.00 in steps of 0.05."""

LEVEL_TEXTS: tuple[str, ...] = tuple(f"{level:.2f}" for level in LEVELS)
"""The same levels as text."""

ANSWER_TOKENS = 32
"""Tokens that suffice for a label and a confidence: "<answer>disappointment</answer><confidence>0.85</confidence>"
takes fewer, even with a tokenizer that splits numbers into digits."""

REASONED_TOKENS = 1024
"""The default limit for an answer that reasons first, in tokens: that of EmoCaliber's inference."""

_ANSWER_FIELD = re.compile(r"\{(label|confidence|distribution|reasoning)\}")
_FIELD_LIKE = re.compile(r"\{([A-Za-z_]{1,40})\}")
_FIELDS = {
    "prompt": ("candidates", "label", "question"),
    "answer": ("label", "confidence", "distribution", "reasoning"),
}
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Template:
    """A prompt and the format of its answer.

    `prompt` contains {candidates}; {question} if rows carry their own question; and, in a follow-up about an answer,
    {label}. `answer` contains any of {label}, {confidence}, {distribution} and {reasoning}. `load_template` reads one
    from a file.
    """

    name: str
    prompt: str
    answer: str

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of both texts: stored with every response."""
        canonical = json.dumps({"answer": self.answer, "prompt": self.prompt}, ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def record(self) -> dict[str, str]:
        """Name, hash and both texts as JSON values, for manifests and adapters; `template_of` reads it back."""
        return {"name": self.name, "hash": self.hash, "prompt": self.prompt, "answer": self.answer}

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the answer, in order of appearance: some of label, confidence, distribution, reasoning."""
        return tuple(_ANSWER_FIELD.findall(self.answer))

    @property
    def reasons(self) -> bool:
        """Whether the answer contains reasoning."""
        return "reasoning" in self.fields

    @property
    def longest_answer(self) -> int:
        """The default limit on answer tokens."""
        return REASONED_TOKENS if self.reasons else ANSWER_TOKENS

    @property
    def is_json(self) -> bool:
        """Whether the answer is a JSON object."""
        return self.answer.startswith("{") and _ANSWER_FIELD.match(self.answer) is None

    def tags(self, field: str) -> tuple[str, str]:
        """The text around a field of the answer: <answer> and </answer>, or a JSON key and the end of its value.

        Raises ValueError if the field has neither.
        """
        around = self._around(field)
        if around is None:
            raise ValueError(f"template {self.name}: its answer has no tags around {{{field}}}")
        return around[1], around[2]

    def is_tagged(self, field: str) -> bool:
        """Whether the field has tags (see `tags`); a user's own template need not have them."""
        return self._around(field) is not None

    def _around(self, field: str) -> re.Match[str] | None:
        return re.search(rf'(<\w+>|"\w+": "?)\{{{field}\}}(</\w+>|"?[,}}])', self.answer)

    def pattern(self, candidates: Sequence[str]) -> str:
        """A regular expression that matches exactly the answers with one of the candidates and one of LEVELS.

        Raises ValueError if the answer contains free text or a distribution.
        """
        if free := set(self.fields) - {"label", "confidence"}:
            raise ValueError(f"template {self.name}: an answer with {', '.join(sorted(free))} has no fixed format")
        texts = {"label": candidates, "confidence": LEVEL_TEXTS}
        parts = re.split(r"\{(label|confidence)\}", self.answer)
        return "".join(
            f"({'|'.join(map(_escaped, texts[part]))})" if part in texts else _escaped(part) for part in parts
        )

    def schema(self, candidates: Sequence[str]) -> str:
        """A JSON Schema, as text, that accepts exactly the answers with one of the candidates and one of LEVELS.

        Raises ValueError if the answer is not a JSON object with a label and a confidence.
        """
        if not self.is_json or set(self.fields) != {"label", "confidence"}:
            raise ValueError(f"template {self.name}: its answer is not a JSON object with a label and a confidence")
        keys = re.findall(r'"(\w+)": "?\{', self.answer)
        values = {"label": {"enum": list(candidates)}, "confidence": {"enum": list(LEVELS)}}
        properties = {key: values[field] for key, field in zip(keys, self.fields, strict=True)}
        return json.dumps({"type": "object", "properties": properties, "required": keys, "additionalProperties": False})

    @property
    def asks_rows_questions(self) -> bool:
        """Whether the prompt contains {question}, a row's own question."""
        return "{question}" in self.prompt

    def render(self, candidates: Sequence[str], *, label: str | None = None, question: str = "") -> str:
        """The prompt text for these candidates; {label} and {question} also need a value if the prompt contains them.

        Raises ValueError if a label is missing or superfluous, and UserError if a row has a question and the prompt no
        {question}, or vice versa.
        """
        if self.asks_rows_questions != bool(question):
            raise UserError(
                f"template {self.name}: its prompt contains {{question}}, but some rows have no question; add a"
                " column 'question', or use another template"
                if self.asks_rows_questions
                else f"template {self.name}: some rows have their own question, but its prompt has no"
                " {question}; use the template 'question', or one of your own"
            )
        if ("{label}" in self.prompt) != (label is not None):
            need = "needs the label it asks about" if label is None else "takes no label"
            raise ValueError(f"template {self.name}: its prompt {need}")
        values = {"{candidates}": ", ".join(candidates), "{label}": label or "", "{question}": question}
        return re.sub(r"\{candidates\}|\{label\}|\{question\}", lambda field: values[field[0]], self.prompt)

    def write(
        self,
        *,
        label: str | None = None,
        confidence: float | None = None,
        distribution: Mapping[str, float] | None = None,
        reasoning: str | None = None,
    ) -> str:
        """The completion with these values: what a model is trained to write.

        Raises ValueError if the values given are not exactly the template's fields, or if a confidence or probability
        lies outside [0, 1].
        """
        values = {"label": label, "confidence": confidence, "distribution": distribution, "reasoning": reasoning}
        present = {name for name, value in values.items() if value is not None}
        if present != set(self.fields):
            raise ValueError(f"template {self.name} states {sorted(self.fields)}, but was given {sorted(present)}")
        texts = {"label": label, "reasoning": reasoning}
        if confidence is not None:
            texts["confidence"] = self._decimal(confidence)
        if distribution is not None:
            texts["distribution"] = ", ".join(f"{name} {self._decimal(share)}" for name, share in distribution.items())
        return _ANSWER_FIELD.sub(lambda field: str(texts[field[1]]), self.answer)

    def _decimal(self, value: float) -> str:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"template {self.name}: {value} is not a probability; give a number from 0 to 1")
        return f"{value:.2f}"


def _escaped(text: str) -> str:
    """As `re.escape`, but with spaces left alone: some engines' regular expressions do not accept an escaped space."""
    return re.escape(text).replace("\\ ", " ")


def template_names() -> list[str]:
    """The names of the shipped templates, sorted."""
    return sorted(path.stem for path in shipped_folder("prompts").glob("*.yaml"))


def load_template(name: str | Path) -> Template:
    """The template `prompts/<name>.yaml`, or the file at `name` if that ends in .yaml or .yml.

    Raises UserError if there is no such template (with the nearest name), or if its keys or fields are wrong (with the
    file and the key).
    """
    text = str(name)
    if text.endswith(_SUFFIXES):
        return template_of(read_mapping(Path(text)), text)
    if text not in template_names():
        hint = did_you_mean(text, template_names()) or f"; choose one of {', '.join(template_names())},"
        raise UserError(f"there is no template {text!r}{hint} or give the path of a .yaml file of your own")
    return template_of(read_mapping(shipped_folder("prompts") / f"{text}.yaml"), text)


def template_of(content: Mapping[str, Any], name: str) -> Template:
    """The template in a mapping: a file's content or a stored `Template.record`. Raises UserError naming file and key.

    `name` becomes the template's name and begins error messages.
    """
    texts = {key: value for key, value in content.items() if key not in ("name", "hash")}
    for key in texts:
        if key not in _FIELDS:
            raise UserError(f"{name}: unknown key {key!r}{did_you_mean(key, _FIELDS) or f'; {_EXPECTED}'}")
    for key in _FIELDS:
        if not isinstance(texts.get(key), str) or not texts[key].strip():
            raise UserError(f"{name}: {key} must be a text, but is {_kind(texts.get(key))}; {_EXPECTED}")
    template = Template(name, texts["prompt"], texts["answer"])
    _check_fields(template)
    return template


_EXPECTED = "a template has the keys prompt and answer (see prompts/README.md)"


def _kind(value: object) -> str:
    return "missing" if value is None else "empty" if isinstance(value, str) else type(value).__name__


def _check_fields(template: Template) -> None:
    """Raises UserError if a field of either text is unknown, missing or repeated."""
    for key, text in (("prompt", template.prompt), ("answer", template.answer)):
        for field in _FIELD_LIKE.findall(text):
            near = difflib.get_close_matches(field, _FIELDS[key], n=1)
            if field not in _FIELDS[key] and (near or key == "answer"):
                hint = f"did you mean {{{near[0]}}}?" if near else f"it may contain {_braced(_FIELDS[key])}"
                raise UserError(f"{template.name}: {key}: unknown field {{{field}}}; {hint}")
    if not {"{candidates}", "{label}"} & {f"{{{field}}}" for field in _FIELD_LIKE.findall(template.prompt)}:
        raise UserError(f"{template.name}: prompt: it lacks {{candidates}}, where the labels to choose from go")
    if not {"label", "distribution"} & set(template.fields):
        raise UserError(f"{template.name}: answer: it states no label; write {{label}} or {{distribution}} in it")
    if repeated := next((field for field in template.fields if template.fields.count(field) > 1), None):
        raise UserError(f"{template.name}: answer: it contains {{{repeated}}} twice; keep one of them")


def _braced(fields: Sequence[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields)


def messages(prompt: str, completion: str | None = None, *, images: int = 1) -> list[dict[str, Any]]:
    """A chat: a user turn with the images followed by the prompt and, for training, the assistant turn."""
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": [*({"type": "image"} for _ in range(images)), {"type": "text", "text": prompt}]},
    ]
    if completion is not None:
        chat.append({"role": "assistant", "content": [{"type": "text", "text": completion}]})
    return chat


if __name__ == "__main__":
    for template in map(load_template, template_names()):
        print(f"{template.name} {template.hash}\n  {template.prompt}\n  {template.answer}\n")
