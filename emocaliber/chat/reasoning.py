"""Reasoning in its parts, for display: what stands between the think tags, split at EmoCaliber's five steps.

Not the reader: nothing here finds a label or a confidence. One forward scan, linear in the text.

    python -c "from emocaliber.chat.reasoning import parts; print(parts('<think><human>A smile.</human></think>x'))"
"""

from __future__ import annotations

import re

TITLES = {
    "element": "What stands out",
    "human": "People",
    "context": "Surroundings",
    "interaction": "How these interact",
    "analysis": "What follows",
}
WHOLE = "Reasoning"

FIELDS = {"answer": "Feeling", "confidence": "Stated confidence", "distribution": "Shares"}

_TAG = re.compile(rf"<(/?)({'|'.join(TITLES)})>", re.IGNORECASE | re.ASCII)
_ANY = re.compile(rf"<(/?)(think|{'|'.join(TITLES | FIELDS)})>", re.IGNORECASE | re.ASCII)
_UNFINISHED = re.compile(r"</?[A-Za-z]{0,12}\Z")
_THINK = re.compile(r"<(/?)think>", re.IGNORECASE | re.ASCII)


def parts(text: str) -> dict[str, str]:
    """Title and text of each step, in order; under WHOLE what has no steps; empty where the answer has no reasoning."""
    inside = _between_think_tags(text)
    if inside is None:
        return {}
    found: dict[str, str] = {}
    opened: dict[str, int] = {}
    for tag in _TAG.finditer(inside):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] = tag.end()
        elif name in opened:
            found[TITLES[name]] = inside[opened.pop(name) : tag.start()].strip()
    whole = inside.strip()
    return found or ({WHOLE: whole} if whole else {})


def in_words(text: str) -> str:
    """An answer that is being written, for display: known tags become titles, each on a line of its own."""
    titles = TITLES | FIELDS

    def title(tag: re.Match[str]) -> str:
        return f"\n{titles[tag[2].lower()]}: " if not tag[1] and tag[2].lower() in titles else "\n"

    lines = (line.strip() for line in _ANY.sub(title, _UNFINISHED.sub("", text)).splitlines())
    return "\n".join(line for line in lines if line)


def _between_think_tags(text: str) -> str | None:
    """From the first opening tag to the last closing one; to the end where the reasoning never ends."""
    tags = list(_THINK.finditer(text))
    start = next((tag.end() for tag in tags if not tag[1]), None)
    if start is None:
        return None
    end = next((tag.start() for tag in reversed(tags) if tag[1]), len(text))
    return text[start : max(start, end)]
