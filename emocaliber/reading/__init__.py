"""Parsing responses into label, confidence and state. Rewards, generation, chat and imports share this one parser.

It does not judge whether the label is right. It is a pure function, takes linear time, and never raises.

    python -c "from emocaliber.reading import read_response as read; print(read('Emotion: joy', ['joy', 'awe']))"
"""

from emocaliber.reading.final import REASONING_TAGS, add_reasoning_tags
from emocaliber.reading.interpretation import Reading
from emocaliber.reading.numbers import CONFIDENCE_WORDS
from emocaliber.reading.reader import read_response
from emocaliber.reading.reasoning import STEPS, answer_text, bare_reasoning, reasoning_of, reasoning_steps

__all__ = [
    "CONFIDENCE_WORDS",
    "REASONING_TAGS",
    "STEPS",
    "Reading",
    "add_reasoning_tags",
    "answer_text",
    "bare_reasoning",
    "read_response",
    "reasoning_of",
    "reasoning_steps",
]
