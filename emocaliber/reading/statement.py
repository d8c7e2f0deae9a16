"""Statement: what a response states, as raw texts before interpretation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from emocaliber.reading.scales import Scale


@dataclass(frozen=True, slots=True)
class Statement:
    """A label, a confidence with the scale that was stated for it, and (label, share) pairs of a distribution."""

    label: str | None = None
    confidence: str | None = None
    shares: tuple[tuple[str, str], ...] = ()
    scale: Scale | None = None


AMBIGUOUS = " / "
"""Separator of several different labels or confidences, which make a statement ambiguous."""

CORRECTION = re.compile(
    r"\b(?:no(?! doubt| question)|wait|actually|on second thoughts?|on reflection|correction|rather|instead"
    r"|revis(?:ed?|ing)|reconsider\w*|final(?:ly)?|changed? my mind|let me correct|scratch that|updated?|however)\b",
    re.IGNORECASE,
)
"""Words that introduce a correction of an earlier statement."""

SECONDARY = re.compile(
    r"\b(?:second(?:ary)?|runner[- ]?up|alternativ\w+|alternate|other|next|another|third|fallback|less likely|least"
    r"|possible|possibly|rejected|considered|not|un(?![aoe]\b)\w+|wrong|incorrect|initial|previous|draft|example|opposite"
    r"|distractor|true|ground[- ]truth|excluded|otherwise|maybe|perhaps|backup|also|lower)\b",
    re.IGNORECASE,
)
"""Words that introduce a statement other than the answer."""

SUPPOSED = re.compile(
    r"\b(?:(?<!as )if|unless|might|could|may|would (?:have|look|be|read|give|return|yield)"
    r"|hypothetical\w*|suppose\w*|instead of"
    r"|for (?:instance|comparison|reference)|e\.g|had (?:it|the))\b",
    re.IGNORECASE,
)
"""Words that introduce a hypothetical statement."""
