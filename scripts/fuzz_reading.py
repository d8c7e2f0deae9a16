"""Fuzz the reader: random texts of what trips readers up, and a measurement that its time grows linearly.

Its policies are tested in tests/reading.

    python scripts/fuzz_reading.py --texts 2000000     random texts, none may raise; prints how many were read
    python scripts/fuzz_reading.py --growth            CPU time at 0.25 and at 1 MB for each hostile text; exit code 1
                                                       where four times the text costs more than eight times the time
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections import Counter

from emocaliber.core.predictions import State
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.reading import CONFIDENCE_WORDS, REASONING_TAGS, read_response

LABELS = KAOMOJI_10.labels
FINISH = (None, "stop", "length", State.ENGINE_ERROR.value)
NAMES = ("answer", "confidence", "think", "distribution", "emotion", "reasoning")
TAGS = [f"<{slash}{name}>" for name in NAMES for slash in ("", "/")]
SIGNS = "{}[:0-*%a;(–ﷺ|\"'#/９％：，。“$"
WORDS = [*SIGNS, '{"emotion":', '\\"', "0.", "0,8", "1/", "85%", ".5", "certain", "not", "n't", "joy,"]
PHRASES = [
    "<answer>happy</answer>",
    "<answer>happy</answer><think>a</think>",
    "happy 0.6, ",
    "happy 0.6\n",
    "Emotion: ",
    "Emotion: sad\n",
    "emotion is ",
    "emotion of the ",
    "confidence: 0.8 ",
    "confidence (0-10): 8 ",
    "1 sure ",
    "I am 85% sure. ",
    "on a scale of 1 to 10 ",
    '{"emotion": "happy", "confidence": 0.8}',
    '[{"emotion": "happy"}, ',
    "{a:",
    '{"a"//',
    "{/*",
    "| emotion | confidence |\n",
    "Explanation: the answer is sad\n",
    "\\boxed{happy}",
    "\\boxed{",
    "A) happy ",
    "<|im_end|>",
    "<|channel|>final<|message|>",
    "because ",
    "not not not ",
    "is happy. ",
    "P(happy) = 0.5 ",
    "happy，置信度：85％ ",
    "{[(",
    "）（",
]
MARKS = [" ", "\n", "\u0316\u0300", "\ud800", "happy ", "happysad", "- ", "1. ", "0 out of ", "about ", "<", "<answer "]
FRAMES = [
    "{}",
    "<answer>{}</answer>",
    "<distribution>{}</distribution>",
    "Emotion: {}",
    "happy {}",
    "<answer>happy</answer>{}",
]
SMALL, LARGE, NOISE_SECONDS = 250_000, 1_000_000, 0.05


def check(text: str, finish_reason: str | None) -> State:
    """What holds for every text, whatever it says; its state."""
    reading = read_response(text, LABELS, finish_reason=finish_reason, words=CONFIDENCE_WORDS)
    assert reading.label is None or reading.label in LABELS
    assert reading.confidence is None or 0.0 <= reading.confidence <= 1.0
    assert (reading.state == State.OK) == (reading.label is not None and reading.confidence is not None)
    return reading.state


def cpu_seconds(frame: str, piece: str, size: int) -> float:
    """CPU time to read about `size` characters of the piece in its frame."""
    text = frame.replace("{}", piece * (size // len(piece)))
    started = time.process_time()
    check(text, None)
    return time.process_time() - started


def measure_growth() -> int:
    """Print each text whose time grows faster than its length, then a summary; 1 where there is one, else 0."""
    slowest, offenders, pieces = (0.0, ""), 0, hostile_pieces()
    for frame, piece in itertools.product(FRAMES, pieces):
        small, large = cpu_seconds(frame, piece, SMALL), cpu_seconds(frame, piece, LARGE)
        slowest = max(slowest, (large, f"{frame} of {piece!r}"))
        if large > max(8 * small, NOISE_SECONDS):
            offenders += 1
            print(f"{frame} of {piece!r}: {small:.3f} s at {SMALL:,}, {large:.3f} s at {LARGE:,} characters")
    count = len(FRAMES) * len(pieces)
    print(f"{count} hostile texts of {LARGE:,} characters, the slowest {slowest[0]:.2f} s ({slowest[1]})")
    print(f"{offenders} grow too fast")
    return 1 if offenders else 0


def hostile_pieces() -> list[str]:
    """What a megabyte of is read: the answer's tags, those of reasoning, and what patterns may stumble over."""
    reasoning = [tag for pair in REASONING_TAGS for tag in pair]
    return list(dict.fromkeys([*TAGS, *reasoning, *WORDS, *PHRASES, *MARKS]))


def fuzz(texts: int, seed: int) -> None:
    """Read so many random texts; the text of one that fails `check` is printed with the traceback."""
    chance, states = random.Random(seed), Counter[State]()
    pieces = [*hostile_pieces(), *LABELS, "Confidence: 0.85", "Final answer: happy", "not ", "or ", " 0.85", "85% "]
    started = time.monotonic()
    for _ in range(texts):
        parts = chance.choices(pieces, k=chance.randint(0, 12))
        if chance.random() < 0.3:
            parts.insert(chance.randint(0, len(parts)), "".join(map(chr, chance.choices(range(1, 0x3100), k=4))))
        text = "".join(parts)
        try:
            states[check(text, chance.choice(FINISH))] += 1
        except Exception:
            print(f"fails on {text!r}")
            raise
    seconds = time.monotonic() - started
    print(f"{texts:,} texts, none raises, {1e6 * seconds / max(texts, 1):.0f} µs each: {dict(states.most_common())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fuzz the reader of responses.")
    parser.add_argument("--texts", type=int, default=2_000_000, help="how many to read (default: 2,000,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the texts (default: 0)")
    parser.add_argument("--growth", action="store_true", help="measure the growth of the time instead")
    arguments = parser.parse_args()
    if arguments.growth:
        sys.exit(measure_growth())
    fuzz(arguments.texts, arguments.seed)
