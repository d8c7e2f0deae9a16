"""Sentences: what a confidence and its record mean, in plain words.

Not a calculation: the counts come from the record, the states from the reader.

    python -m pytest tests/chat/test_sentences.py
"""

from __future__ import annotations

from emocaliber.chat.record import Likeness, Selection
from emocaliber.core.predictions import State

UNREADABLE = {
    State.MISSING_LABEL: "The answer names none of the feelings to choose from.",
    State.UNKNOWN_LABEL: "The answer names a feeling that was not among those to choose from.",
    State.AMBIGUOUS_LABEL: "The answer names more than one feeling, or denies one: it does not decide.",
    State.MISSING_CONFIDENCE: "The model did not say how sure it is.",
    State.NOT_A_NUMBER: "What stands where the confidence belongs is not a number.",
    State.OUT_OF_RANGE: "The stated confidence lies outside 0 to 1, so it means nothing.",
    State.TRUNCATED: "The answer was cut off before it was complete.",
    State.EMPTY: "The model gave an empty answer.",
    State.ENGINE_ERROR: "The model failed on this question.",
    State.IMAGE_ERROR: "The picture could not be used.",
}

_DEGREES = ((0.9, "Very sure"), (0.75, "Quite sure"), (0.6, "Fairly sure"), (0.0, "Rather unsure"))


def verdict(confidence: float | None, threshold: float, like: Likeness | None) -> str:
    """One sentence or two for a readable label: is it trusted, and how often answers like it were right.

    `like` is None where no record exists for these candidates; the sentence then says that nobody knows.
    """
    if confidence is None:
        return "How sure the model is cannot be read, so do not rely on this answer."
    unsure = confidence < threshold
    if like is None:
        known = "How often answers like this are right was never measured."
        return ("Not sure: people may well see this differently. " if unsure else "Sure, by its own account. ") + known
    often = often_right(like.share)
    if unsure:
        return f"Not sure: people may well see this differently. {often[0].upper()}{often[1:]}."
    return f"{next(word for least, word in _DEGREES if like.share >= least)}: {often}."


def often_right(share: float) -> str:
    """A share of right answers, to the nearest tenth: "8 in 10 answers like this are right"."""
    tenths = int(10 * share + 0.5)
    if tenths == 0:
        return "hardly any answer like this is right"
    if tenths == 10:
        return "nearly all answers like this are right"
    return f"{tenths} in 10 answers like this {'is' if tenths == 1 else 'are'} right"


def basis(like: Likeness) -> str:
    """What "answers like this" are: how many, which confidence they stated, and what they were about."""
    span = percent(like.low) if like.low == like.high else f"{percent(like.low)} to {percent(like.high)}"
    return f"{like.right:,} of {like.answers:,} answers that stated {span}, on pictures the model was not trained on"


def meaning(threshold: float, selection: Selection | None) -> str:
    """What a threshold means on the record's pictures."""
    at = f"Trusting answers that state {percent(threshold)} or more"
    if selection is None:
        return f"{at}: what this means for these feelings was never measured."
    pictures = f"{selection.pictures:,} pictures that the model was not trained on"
    if selection.accuracy is None:
        return f"{at}: of {pictures}, none would have had a trusted answer."
    return (
        f"{at}: of {pictures}, {percent(selection.coverage)} would have had a trusted answer, and"
        f" {percent(selection.accuracy)} of these answers were right."
    )


def percent(share: float) -> str:
    """A share as a whole number of per cent, with a no-break space; what is there but rounds to none is "under 1 %"."""
    if 0 < share < 0.005:
        return "under\u00a01\u00a0%"
    return f"{100 * share:.0f}\u00a0%"
