"""Prompting: what is asked, and the exact form of the answer. One template a file in `prompts/`.

Not a reader: `emocaliber.reading` reads what a model wrote; here is only what a well-trained model should write.

    python -m emocaliber.core.prompting          prints every template with its hash
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from emocaliber.core.yaml_files import shipped_folder

LEVELS: tuple[float, ...] = tuple(level / 20 for level in range(21))
"""The confidence levels that the trained templates state, 0.00 to 1.00 in steps of 0.05."""

LEVEL_TEXTS: tuple[str, ...] = tuple(f"{level:.2f}" for level in LEVELS)
"""The same levels as they are written."""

ANSWER_TOKENS = 32
"""The longest answer of a label and a confidence, in tokens: "<answer>disappointment</answer><confidence>0.85
</confidence>" takes fewer where a tokenizer splits numbers into digits."""

_ANSWER_FIELD = re.compile(r"\{(label|confidence|distribution|reasoning)\}")
_KEYS = {"prompt", "answer"}


@dataclass(frozen=True)
class Template:
    """A question and the form of its answer.

    `prompt` holds {candidates} and, in a second question, {label}; `answer` holds any of {label}, {confidence},
    {distribution} and {reasoning}. `load_template` reads one from its file.
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
    def fields(self) -> tuple[str, ...]:
        """The names that `write` needs, in order of appearance: some of label, confidence, distribution, reasoning."""
        return tuple(_ANSWER_FIELD.findall(self.answer))

    @property
    def is_json(self) -> bool:
        """Whether the answer is a JSON object."""
        return self.answer.startswith("{") and _ANSWER_FIELD.match(self.answer) is None

    def tags(self, field: str) -> tuple[str, str]:
        """What stands around a field of the answer: <answer> and </answer>, or a JSON key and what ends its value.

        Raises ValueError where nothing of the kind does.
        """
        around = re.search(rf'(<\w+>|"\w+": "?)\{{{field}\}}(</\w+>|"?[,}}])', self.answer)
        if around is None:
            raise ValueError(f"template {self.name}: its answer has no tags around {{{field}}}")
        return around[1], around[2]

    def pattern(self, candidates: Sequence[str]) -> str:
        """The regular expression of all answers that state one of the candidates and one of LEVELS.

        Raises ValueError where the answer holds free text or a distribution.
        """
        if free := set(self.fields) - {"label", "confidence"}:
            raise ValueError(f"template {self.name}: an answer with {', '.join(sorted(free))} has no fixed form")
        texts = {"label": candidates, "confidence": LEVEL_TEXTS}
        parts = re.split(r"\{(label|confidence)\}", self.answer)
        return "".join(
            f"({'|'.join(map(_escaped, texts[part]))})" if part in texts else _escaped(part) for part in parts
        )

    def schema(self, candidates: Sequence[str]) -> str:
        """The JSON Schema, as text, of all answers that state one of the candidates and a number from 0 to 1.

        Raises ValueError where the answer is not a JSON object of a label and a confidence.
        """
        if not self.is_json or set(self.fields) != {"label", "confidence"}:
            raise ValueError(f"template {self.name}: its answer is no JSON object of a label and a confidence")
        keys = re.findall(r'"(\w+)": "?\{', self.answer)
        values = {"label": {"enum": list(candidates)}, "confidence": {"enum": list(LEVELS)}}
        properties = {key: values[field] for key, field in zip(keys, self.fields, strict=True)}
        return json.dumps({"type": "object", "properties": properties, "required": keys, "additionalProperties": False})

    def render(self, candidates: Sequence[str], *, label: str | None = None) -> str:
        """The user's text for these candidates; a second question also needs the label it asks about.

        Raises ValueError where a label is missing or was not asked for.
        """
        if ("{label}" in self.prompt) != (label is not None):
            need = "needs the label it asks about" if label is None else "takes no label"
            raise ValueError(f"template {self.name}: its prompt {need}")
        values = {"{candidates}": ", ".join(candidates), "{label}": label or ""}
        return re.sub(r"\{candidates\}|\{label\}", lambda field: values[field[0]], self.prompt)

    def write(
        self,
        *,
        label: str | None = None,
        confidence: float | None = None,
        distribution: Mapping[str, float] | None = None,
        reasoning: str | None = None,
    ) -> str:
        """The completion that states these values: what a model is trained to write.

        Raises ValueError where a value that the template states is missing, one that it does not state is given, or a
        confidence or probability lies outside [0, 1].
        """
        given = {"label": label, "confidence": confidence, "distribution": distribution, "reasoning": reasoning}
        present = {name for name, value in given.items() if value is not None}
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
            raise ValueError(f"template {self.name}: {value} is no probability; give a number from 0 to 1")
        return f"{value:.2f}"


def _escaped(text: str) -> str:
    """As `re.escape`, but spaces stay: not every engine's regular expressions know an escaped one."""
    return re.escape(text).replace("\\ ", " ")


def template_names() -> list[str]:
    """The names of the templates that come with the package, sorted."""
    return sorted(path.stem for path in shipped_folder("prompts").glob("*.yaml"))


def load_template(name: str) -> Template:
    """The template `prompts/<name>.yaml`. Raises ValueError where there is none or its keys are wrong."""
    if name not in template_names():
        raise ValueError(f"there is no template {name!r}; choose one of {', '.join(template_names())}")
    text = (shipped_folder("prompts") / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if not isinstance(content, dict) or set(content) != _KEYS:
        raise ValueError(f"prompts/{name}.yaml must have exactly the keys {sorted(_KEYS)}")
    return Template(name, str(content["prompt"]), str(content["answer"]))


def messages(prompt: str, completion: str | None = None) -> list[dict[str, Any]]:
    """One chat: a user's turn of one image, then the text; and, for training, the assistant's turn."""
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]},
    ]
    if completion is not None:
        chat.append({"role": "assistant", "content": [{"type": "text", "text": completion}]})
    return chat


if __name__ == "__main__":
    for template in map(load_template, template_names()):
        print(f"{template.name} {template.hash}\n  {template.prompt}\n  {template.answer}\n")
