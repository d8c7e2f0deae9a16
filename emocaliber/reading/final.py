"""The final answer: a response without its reasoning, further turns and special tokens.

Text inside the reasoning never counts, even if it quotes tags from the image or the prompt. REASONING_TAGS lists the
tags that open and close reasoning. Users add to it with --reasoning-tags, programs with:

    from emocaliber.reading import add_reasoning_tags
    add_reasoning_tags([("<musing>", "</musing>")])

Every scan is a single forward pass: no pattern spans from an opening to a closing tag, so even a megabyte of opening
tags takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from emocaliber.core.errors import UserError

LONGEST_FINAL = 100_000
"""If the text without reasoning is longer, only its first and last LONGEST_FINAL / 2 characters are read."""

_NAMES = (
    "think thinking thought thoughts reasoning reason reasoning_process analysis reflection rationale justification"
    " explanation scratchpad scratch_pad cot chain_of_thought chain-of-thought"
    " reflect reasoning_content internal ponder inner_monologue internal_monologue"
    " monologue deliberation mm:think seed:think longcat_think antThinking planning"
)
REASONING_TAGS: list[tuple[str, str]] = [
    *((f"<{name}>", f"</{name}>") for name in _NAMES.split()),
    *((f"[{name}]", f"[/{name}]") for name in ("THINK", "THINKING", "THOUGHT", "REASONING")),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|think|>", "<|/think|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thought_start|>", "<|thought_end|>"),
    ("<unused94>", "<unused95>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
]
"""The tags that open and close reasoning, case-insensitive; <names> may contain spaces and attributes."""


def add_reasoning_tags(pairs: Iterable[Sequence[str]]) -> None:
    """Treat the text between each pair's opening and closing tag as reasoning, in this process from now on.

    Raises UserError if a tag is blank, or both tags of a pair are equal.
    """
    for opening, closing in pairs:
        if not opening.strip() or not closing.strip() or opening == closing:
            raise UserError(f"--reasoning-tags {opening!r} {closing!r}: give what opens reasoning, then what closes it")
        if (opening, closing) not in REASONING_TAGS:
            REASONING_TAGS.append((opening, closing))


_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s{0,3}final\b[^<>]{0,60}<\|message\|>|assistantfinal(?=\S)")
_CHANNEL = re.compile(r"<\|channel\|>|\A\s{0,5}analysis(?=[A-Z])")
_OPENING_TURN = re.compile(
    r"(?:\s{0,5}(?:<\|im_start\|>\s?assistant\b|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|assistant\|>|<s>"
    r"|<start_of_turn>model\b|<bos>|<\|begin_of_text\|>|<\|start\|>assistant|\[/INST\]|(?:assistant|bot|ai|model|response|output):(?=\s))){1,4}",
    re.IGNORECASE,
)
_TURN_END = re.compile(
    r"<\|(?:im_end|im_start|eot_id|eom_id|end_of_text|endoftext|end|return|end_of_turn|eos|user|start_header_id|"
    r"observation|end_of_sentence|call)\|>|</s>|<eos>|<end_of_turn>|<start_of_turn>|<｜(?:end▁of▁sentence|User)｜>"
    r"|\[INST\]|^(?:User|Human|USER|HUMAN):",
    re.MULTILINE,
)
_FENCED = re.compile(
    r"```\s?(?:think|thinking|thoughts?|reasoning|analysis|scratchpad)[ \t]*\n.*?(?:\n```|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_STILL_ANSWER = re.compile(r"\s{0,5}</?(?:answer|confidence|distribution)>", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^<>|\n]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>|</?s>|<(?:pad|unk|bos|eos|end_of_turn)>|\[/?INST\]")
_ANSWERS = "final_answer answer emotion label sentiment feeling prediction"
_CONFIDENCES = "confidence confidence_score confidence_level probability certainty conf score"
_ALIASES = {
    **dict.fromkeys(_ANSWERS.split(), "answer"),
    **dict.fromkeys(_CONFIDENCES.split(), "confidence"),
    **dict.fromkeys(("distribution", "probabilities"), "distribution"),
}
_WRITTEN_NAMES = "|".join(sorted(_ALIASES, key=len, reverse=True))
_TAG = re.compile(
    rf"<\s{{0,3}}(?P<close>/?)\s{{0,3}}(?P<name>{_WRITTEN_NAMES})(?:\s[^<>]{{0,100}})?>"
    r"|\[(?P<square_close>/?)(?P<square>answer|confidence)\]",
    re.IGNORECASE | re.ASCII,
)
_ANY_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[a-z][\w:-]{0,30})(?:\s[^<>]{0,100})?>|\[(?P<square_close>/?)(?P<square>[a-z]{3,20})\]",
    re.IGNORECASE,
)
_HTML = "a b i u p em strong span div font center br hr h1 h2 h3 h4 ul ol li code pre mark small big"
_WRAPPERS = "html body table tr td th sub sup s del response output result results final solution end"
_NO_BLOCKS = frozenset(_ALIASES) | frozenset(f"{_HTML} {_WRAPPERS}".split())
_AFTER_ANSWER = re.compile(r"[\s.]*(?:\Z|(?:this is because|because|explanation|note)\b)", re.IGNORECASE)
_ANNOUNCED = re.compile(r"(?:^\s*|\banswer (?:is|would be)[\s:*]{0,5})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Element:
    """A complete tagged element; `start` and `end` are its offsets in the text, tags included."""

    name: str
    content: str
    start: int
    end: int
    tag: str = ""


def final_answer(text: str, *, ended: bool | None) -> str | None:
    """The response without reasoning, later turns and special tokens; None if the reasoning never ends.

    `ended` says whether the model stopped by itself (None: unknown). If it did, complete answer tags at the very end of
    unclosed reasoning are the answer; if unknown, only if they start a line or follow "answer is".
    """
    turn = _first_turn(_FENCED.sub("", text) if "```" in text else text)
    if turn is None:
        return None
    rest = _after_reasoning(turn, cut=ended is False)
    if rest is None and ended is not False:
        rest = _answer_at_end(turn[-4000:], announced=ended is None)
    return None if rest is None else _SPECIAL.sub("", _ends(rest))


def _ends(text: str) -> str:
    """The text, or the beginning and the end of one longer than LONGEST_FINAL, separated by a blank line."""
    if len(text) <= LONGEST_FINAL:
        return text
    head, tail = text[: LONGEST_FINAL // 2].rsplit(None, 1), text[-LONGEST_FINAL // 2 :].split(None, 1)
    return "\n\n".join([*head[:-1], *tail[1:]])  # no word is halved


def elements(text: str) -> list[Element]:
    """The complete answer, confidence and distribution elements (or their aliases), in order."""
    complete: list[Element] = []
    opened: dict[str, tuple[int, int]] = {}
    for tag in _TAG.finditer(text):
        written = (tag["name"] or tag["square"]).lower()
        if not (tag["close"] or tag["square_close"]):
            opened[written] = tag.span()
        elif written in opened:
            start, content = opened.pop(written)
            complete.append(Element(_ALIASES[written], text[content : tag.start()], start, tag.end(), written))
    return complete


def without_tags(text: str) -> str:
    """The text without answer tags, unmatched ones included."""
    return _TAG.sub(" ", text)


def outside_blocks(text: str) -> str | None:
    """The text without blocks in unknown tags, which may be reasoning under another name.

    None if such a block starts the text and is never closed. HTML tags and answer tags are not blocks.
    """
    segments: list[str] = []
    name, start, opened = "", 0, 0
    for tag in _ANY_TAG.finditer(text):
        written = (tag["name"] or tag["square"]).lower()
        if written in _NO_BLOCKS or (name and written != name):
            continue
        closes = tag["close"] or tag["square_close"]
        if not closes and not name:
            name, opened = written, tag.start()
        elif closes and name:
            segments.append(text[start:opened])
            name, start = "", tag.end()
    if name and text[opened] == "<" and not text[:opened].strip() and not segments and f"</{name}" not in text.lower():
        return None
    return "".join([*segments, text[start:]])


def _first_turn(text: str) -> str | None:
    """The assistant's first turn, or its final channel if it has channels; None if the final channel is missing."""
    finals = list(_FINAL_CHANNEL.finditer(text))
    if finals:
        text = text[finals[-1].end() :]
    elif _CHANNEL.search(text):
        return None
    opening = _OPENING_TURN.match(text)
    start = opening.end() if opening else 0
    for end in _TURN_END.finditer(text, start):
        if text[start : end.start()].strip() and not _STILL_ANSWER.match(text, end.end()):
            return text[start : end.start()]
    return text[start:]


def _after_reasoning(text: str, *, cut: bool) -> str | None:
    """The text without its reasoning; None if a reasoning block is never closed.

    Text before a reasoning block is a draft and is dropped with it, unless it contains a complete answer, or nothing
    follows in a response that was not cut off (the block then explains the answer). An unmatched closing tag ends a
    block that the prompt opened.
    """
    pattern, ends = tag_pattern(tuple(REASONING_TAGS))
    segments: list[str] = []
    start, inside, stray, draft = 0, "", -1, ""
    for tag in pattern.finditer(text):
        name = canonical(tag[0])
        opening = ends.get(name)
        if inside and opening == inside:
            start, inside, stray = tag.end(), "", -1
        elif inside:
            stray = tag.end() if opening else stray
        elif opening:
            segments, start = [], tag.end()
        else:
            before = text[start : tag.start()]
            if any(element.name == "answer" for element in elements(before)):
                segments.append(before)
            else:
                segments, draft = [], before
            inside = name
    if not inside:
        rest = "".join([*segments, text[start:]])
        return rest if rest.strip() or cut else draft
    rest = text[stray:]
    return None if stray < 0 or any(canonical(tag[0]) not in ends for tag in pattern.finditer(rest)) else rest


@lru_cache(maxsize=8)
def tag_pattern(table: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern that matches all tags, and a mapping from each closing tag to its opening tag."""
    tags = [tag for pair in table for tag in pair]
    names = {matched[1] for tag in tags if (matched := _NAMED.fullmatch(tag))}
    literals = [re.escape(tag) for tag in tags if not _NAMED.fullmatch(tag)]
    written = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    named = [rf"<\s{{0,3}}/?\s{{0,3}}(?:{written})(?:\s[^<>]{{0,200}})?>"]
    first = "".join(sorted({re.escape(tag[0].lower()) + re.escape(tag[0].upper()) for tag in tags if tag}))
    pattern = rf"(?=[<{first}])(?:{'|'.join(named * bool(names) + literals)})"
    return re.compile(pattern, re.IGNORECASE), {canonical(closing): canonical(opening) for opening, closing in table}


_NAMED = re.compile(r"</?([\w:-]+)>")
_WRITTEN = re.compile(r"<\s*(/?)\s*([\w:-]+)[^<>]*>")


def canonical(tag: str) -> str:
    """A tag in lower case, without spaces and attributes."""
    named = _WRITTEN.fullmatch(tag)
    return (f"<{named[1]}{named[2]}>" if named else tag).lower()


def _answer_at_end(text: str, *, announced: bool) -> str | None:
    """The text from its last answer element on, if only a confidence element or an explanation follows; else None."""
    parts = elements(text)
    answer = next((part for part in reversed(parts) if part.name == "answer"), None)
    if answer is None or not _AFTER_ANSWER.match(text, max(part.end for part in parts)):
        return None
    line = text[: answer.start].rsplit("\n", 1)[-1]
    return None if announced and not _ANNOUNCED.search(line) else text[answer.start :]
