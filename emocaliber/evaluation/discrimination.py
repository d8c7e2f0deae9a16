"""Discrimination: does a higher confidence go with a right answer? AUROC and average precision.

Ties count by their expected value over all orders of the tied rows, in closed form, so no order of the rows matters.
Not a calibration measure: any increasing transformation of the confidence leaves both unchanged.

    python -c "from emocaliber.evaluation import discrimination as d, tally as t; print(d.auroc(t.tally([.8, .3], [1,
    0])))"
"""

from __future__ import annotations

import numpy as np

from emocaliber.evaluation.tally import FloatArray, Tally, ratio


def auroc(rows: Tally) -> FloatArray:
    """Probability that a right answer is stated with more confidence than a wrong one, ties one half, (...).

    NaN where every answer is right or every answer is wrong. A refused row loses every pair, both as the right answer
    that it might have been and as the wrong one that it is: ranking it as a wrong answer at the top alone would
    reward refusing a right answer of low confidence.
    """
    wrong_below = np.cumsum(rows.misses, -1) - rows.misses / 2
    concordant = np.einsum("...k,...k->...", rows.hits, wrong_below)
    return ratio(concordant, (rows.hits.sum(-1) + rows.refused) * (rows.misses.sum(-1) + rows.refused))


def average_precision(rows: Tally) -> FloatArray:
    """Mean precision at the rank of each right answer, most confident first, (...); NaN without a right answer.

    A tied block counts with its expectation over orders, where scikit-learn takes the precision at the block's end;
    without ties the two agree. Refused rows stand at the top as wrong answers, and count as right ones never found.
    """
    top = rows.from_the_top
    hits = rows.hits[..., ::-1]
    found = np.cumsum(hits, -1) - hits
    slope = np.divide(hits - 1, top.counts - 1, out=np.zeros_like(hits), where=top.counts > 1)
    block = slope * top.counts + (found + 1 - slope * (top.start + 1)) * top.harmonic
    total = (hits / np.maximum(top.counts, 1.0) * block).sum(-1)
    return ratio(total, hits.sum(-1) + rows.refused)
