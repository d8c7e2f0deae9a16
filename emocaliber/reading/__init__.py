"""Reading: what a response says: label, confidence, state. One reader for rewards, generation, chat and imports.

Not a judge: whether the label is right is not asked here. Pure, total, linear in the text's length; it never raises.

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
