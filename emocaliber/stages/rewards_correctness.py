"""What counts as right when completions are rewarded: the dominant label, the raters' share, or the group's accuracy.

Pure functions. Every reward is linear in correctness, so with any of the three the confidence that pays best is the
expected correctness, and a reward that is safe stays safe.

    method: grpo
    correctness: agreement
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from emocaliber.stages.recipe import Correctness
from emocaliber.stages.rewards import Reward, never_best, stated

GROUP_WEIGHT = 0.5
"""Weight of the group's accuracy in its mixture with the answer's own correctness (DCPO, arXiv 2603.09117)."""


@dataclass(frozen=True)
class Completion:
    """One sampled answer and what it is judged by. Answers to one question share `question`; `votes` count raters."""

    text: str
    question: Hashable
    candidates: tuple[str, ...]
    truth: str
    votes: Mapping[str, int] | None = None


def rewards_of(reward: Reward, completions: Sequence[Completion], correctness: Correctness) -> list[float]:
    """One finite number a completion, in order; a malformed one earns `reward.malformed`.

    Raises ValueError where agreement is asked for and a question has no votes.
    """
    readings = [stated(reading.text, reading.candidates) for reading in completions]
    right = correctness_of(completions, [None if reading is None else reading[0] for reading in readings], correctness)
    earned = [
        reward.malformed if reading is None else reward(reading[1], share)
        for reading, share in zip(readings, right, strict=True)
    ]
    return never_best(earned, reward.malformed)


def correctness_of(
    completions: Sequence[Completion], labels: Sequence[str | None], correctness: Correctness
) -> list[float]:
    """How right each label is, in [0, 1]; a label of None is wrong.

    `label`: 1 for the dominant label. `agreement`: the share of raters who chose the label. `group`: half the answer's
    own correctness, half the share of right answers among all given here to the same question (DCPO's mixture), a
    target of less variance that is honest about the question more than about the answer.
    """
    if correctness == "agreement":
        return [_share(completion, label) for completion, label in zip(completions, labels, strict=True)]
    own = [float(label == completion.truth) for completion, label in zip(completions, labels, strict=True)]
    if correctness == "label":
        return own
    groups: defaultdict[Hashable, list[float]] = defaultdict(list)
    for completion, right in zip(completions, own, strict=True):
        groups[completion.question].append(right)
    means = {question: sum(rights) / len(rights) for question, rights in groups.items()}
    return [
        GROUP_WEIGHT * means[completion.question] + (1 - GROUP_WEIGHT) * right
        for completion, right in zip(completions, own, strict=True)
    ]


def _share(completion: Completion, label: str | None) -> float:
    total = sum((completion.votes or {}).values())
    if completion.votes is None or not total:
        raise ValueError(
            f"question {completion.question}: correctness by agreement needs rater votes; use label or group"
        )
    return completion.votes.get(label, 0) / total if label is not None else 0.0
