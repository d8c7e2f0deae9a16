"""Rationales in data sets: a separate column, or the reasoning before the answer of a conversation.

read_rationale("<think>Rain on an empty street.</think>", "sadness")
"""

from __future__ import annotations

from emocaliber.reading import bare_reasoning, read_response


class RationaleError(ValueError):
    """What is wrong with a rationale, and how to fix it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.what, self.fix = what, fix


def read_rationale(written: str, label: str | None) -> str | None:
    """The reasoning without surrounding tags; None if empty. Raises RationaleError if tags inside would hide the answer
    that follows.
    """
    rationale = bare_reasoning(written)
    if not rationale:
        return None
    answer = label or "joy"
    if read_response(f"<think>{rationale}</think><answer>{answer}</answer>", (answer,)).label is None:
        raise RationaleError(
            "tags or special tokens in it hide the answer that follows it",
            "write the reasoning alone, without the tags of an answer or a chat",
        )
    return rationale
