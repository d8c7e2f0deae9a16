"""Rewards for other people's trainers: what an answer with a stated confidence earns, as TRL and verl call it.

Each of `brier`, `spherical`, `overconfidence` and `underconfidence` is a TRL `reward_funcs` function as it stands, and
safe: honesty about the likeliest answer pays best, no wrong or unreadable answer is ever worth giving (the module
`stages.rewards` says how that is computed). `reward_function` makes others. Stage 3 pays by the same code.

    from emocaliber.rewards import brier
    trainer = GRPOTrainer(model, reward_funcs=brier, train_dataset=dataset)

The dataset's columns say what is right: `candidates`, the labels to choose from, in each row (or `labels` of
`reward_function`), and `label`, one of them or its number. Responses are read by the project's one reader; a label or
a confidence that cannot be read earns the least that any readable answer can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from emocaliber.core.taxonomy import labels_of
from emocaliber.stages.grading import completions_of, rewards_of
from emocaliber.stages.rewards import chosen_reward, named_reward

__all__ = ["brier", "compute_score", "overconfidence", "reward_function", "spherical", "underconfidence"]

RewardFunction = Callable[..., list[float]]
Correct = Literal["label", "agreement"]


def brier(completions: Sequence[Any], **columns: Any) -> list[float]:
    """Brier-1, RLCR's reward (Damani et al. 2025): 1 - (1 - c)² if right, -c² if wrong, -1 if unreadable, (n,)."""
    return _paid("brier-1", completions, columns)


def spherical(completions: Sequence[Any], **columns: Any) -> list[float]:
    """Correctness plus the spherical score less 1: from 0 to 1 if right, 0 to -1 if wrong, -1 if unreadable, (n,)."""
    return _paid("spherical-1", completions, columns)


def overconfidence(completions: Sequence[Any], **columns: Any) -> list[float]:
    """Overconfidence-4 (Tan et al. 2026), which punishes stating too much more than stating too little, (n,)."""
    return _paid("overconfidence-4", completions, columns)


def underconfidence(completions: Sequence[Any], **columns: Any) -> list[float]:
    """Underconfidence-4 (Tan et al. 2026), which punishes stating too little more than stating too much, (n,)."""
    return _paid("underconfidence-4", completions, columns)


def reward_function(
    name: str = "brier-1", *, labels: str | Sequence[str] | None = None, correctness: Correct = "label"
) -> RewardFunction:
    """A TRL reward function by name, such as brier-0.5 or spherical-1: `emocaliber recipe rewards` draws them.

    `labels` are the candidates of rows that have no column of them: a list, or a taxonomy's name such as "mikels-8".
    `correctness` "agreement" pays by the share of the raters in a column `votes`. Warns (UnsafeReward) of a reward that
    is not safe. Raises ValueError for a name that is no reward, UserError for labels that are none.
    """
    chosen_reward(name)
    candidates = labels_of(labels)

    def reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        return _paid(name, completions, columns, candidates, correctness)

    reward.__name__ = name  # what TRL calls it in its logs
    return reward


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    reward: str = "brier-1",
    labels: str | Sequence[str] | None = None,
    correctness: Correct = "label",
    **_: Any,
) -> float:
    """verl's custom reward function: what one response earns, a finite number.

    `custom_reward_function.path` is this file (`python -c "import emocaliber.rewards as r; print(r.__file__)"`), its
    `name` compute_score; `reward_kwargs` are the keywords of `reward_function`. `ground_truth` is the true label or its
    number, or a mapping of `label`, `candidates` and `votes`, of which the latter may also stand in `extra_info`.
    """
    known = ground_truth if isinstance(ground_truth, Mapping) else {"label": ground_truth}
    columns = {name: [value] for name, value in {**(extra_info or {}), **known}.items()}
    chosen_reward(reward)
    return _paid(reward, [solution_str], columns, labels_of(labels), correctness)[0]


def _paid(
    name: str,
    completions: Sequence[Any],
    columns: Mapping[str, Any],
    labels: Sequence[str] = (),
    correctness: Correct = "label",
) -> list[float]:
    return rewards_of(named_reward(name), completions_of(completions, columns, labels), correctness)
