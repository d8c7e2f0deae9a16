"""Rewards of sampled answers: parsed by the package's one parser, compared with the label or the raters, and scored.

Without torch or a trainer: used by stage 3's reinforcement and by `emocaliber.rewards` in other trainers. Correctness
is by the label, by the raters' share, or mixed half and half with the group's accuracy. Every reward is linear in
correctness, so with each of these the optimal confidence is the expected correctness, and a safe reward stays safe.

    rewards_of(named_reward("brier-1"), completions_of(texts, {"candidates": [...], "label": [...]}), "label")
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import Correctness
from emocaliber.stages.rewards import Reward, finite_rewards, stated

TRUTHS = ("label", "truth", "ground_truth", "target", "solution", "answer")
"""Columns that may hold the true label, in order of preference."""
CANDIDATES = ("candidates", "labels", "choices")
"""Columns that may hold the labels to choose from, a list for each row."""
GROUP_WEIGHT = 0.5
"""Weight of the group's accuracy in its mixture with the answer's own correctness (DCPO, arXiv 2603.09117)."""


@dataclass(frozen=True)
class Completion:
    """One sampled answer and what it is judged by. Answers with the same `question` are a group; `votes` counts raters
    by label."""

    text: str
    question: Hashable
    candidates: tuple[str, ...]
    truth: str | None
    votes: Mapping[str, int] | None = None


def completions_of(
    completions: Sequence[Any], columns: Mapping[str, Any], labels: Sequence[str] = ()
) -> list[Completion]:
    """The completions with what they are judged by, from dataset columns that have one value for each completion.

    `labels` are the candidates where there is no column of CANDIDATES. A true label may be one of the candidates or its
    index. Raises UserError naming column and row.
    """
    n = len(completions)
    listed, truths, votes = _column(columns, CANDIDATES), _column(columns, TRUTHS), _column(columns, ("votes",))
    if listed is None and not labels:
        raise UserError(
            f"nothing says which labels there are to choose from: add a column 'candidates' to {_named(columns)};"
            " or name them: reward_function('brier-1', labels=['joy', 'fear', ...]), or labels='mikels-8'"
        )
    if truths is None and votes is None:
        raise UserError(f"no column of true labels ({', '.join(TRUTHS)}) or votes; there are {_named(columns)}")
    questions = _column(columns, ("question", "id")) or range(n)
    nothing = [None] * n
    rows = zip(completions, questions, listed or [labels] * n, truths or nothing, votes or nothing, strict=True)
    return [
        _completion(row, completion, question, candidates, truth, counts)
        for row, (completion, question, candidates, truth, counts) in enumerate(rows)
    ]


def _completion(row: int, completion: Any, question: Hashable, listed: Any, truth: Any, votes: Any) -> Completion:
    if isinstance(listed, str) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"row {row}: the candidates are {listed!r}; give a list of labels")
    candidates = tuple(listed)
    counts = None if votes is None else _votes(row, votes, candidates)
    return Completion(text_of(completion), question, candidates, _truth(row, truth, candidates), counts)


def _truth(row: int, stated_truth: Any, candidates: tuple[str, ...]) -> str | None:
    """The true label as the candidates spell it; an integer is an index into them."""
    if stated_truth is None:
        return None
    if isinstance(stated_truth, int) and not isinstance(stated_truth, bool) and 0 <= stated_truth < len(candidates):
        return candidates[stated_truth]
    folded = {name.strip().casefold(): name for name in candidates}
    if isinstance(stated_truth, str) and (name := folded.get(stated_truth.strip().casefold())) is not None:
        return name
    raise UserError(f"row {row}: the true label {stated_truth!r} is not among the candidates {list(candidates)}")


def _votes(row: int, votes: Any, candidates: tuple[str, ...]) -> Mapping[str, int]:
    """Counts by label, from a mapping, a list of {label, count} (as in our Parquet files), or a list of numbers in the
    order of the candidates. Zeros are dropped, and so is None, with which Arrow fills in missing keys."""
    if isinstance(votes, Mapping):
        counts = dict(votes)
    elif all(isinstance(vote, Mapping) for vote in votes):
        counts = {vote["label"]: vote["count"] for vote in votes}
    elif len(votes) == len(candidates):
        counts = dict(zip(candidates, votes, strict=True))
    else:
        raise UserError(f"row {row}: {len(votes)} votes for {len(candidates)} candidates; give a number for each")
    counts = {name: count for name, count in counts.items() if count}
    if unknown := sorted(set(counts) - set(candidates)):
        raise UserError(f"row {row}: votes for {unknown[0]!r}, which is not among the candidates {list(candidates)}")
    return counts


def _column(columns: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((columns[name] for name in names if columns.get(name) is not None), None)


def _named(columns: Mapping[str, Any]) -> str:
    return ", ".join(columns) or "no columns"


def text_of(completion: Any) -> str:
    """A completion's text: the string itself, or a chat's last message, whose text parts are joined."""
    if isinstance(completion, str):
        return completion
    content = (completion[-1].get("content") if completion else "") or ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def rewards_of(reward: Reward, completions: Sequence[Completion], correctness: Correctness) -> list[float]:
    """One finite reward for each completion, in order; a malformed one earns `reward.malformed`.

    Raises ValueError where agreement is asked for and a question has no votes.
    """
    readings = [stated(reading.text, reading.candidates) for reading in completions]
    right = correctness_of(completions, [None if reading is None else reading[0] for reading in readings], correctness)
    earned = [
        reward.malformed if reading is None else reward(reading[1], share)
        for reading, share in zip(readings, right, strict=True)
    ]
    return finite_rewards(earned, reward.malformed)


def correctness_of(
    completions: Sequence[Completion], labels: Sequence[str | None], correctness: Correctness
) -> list[float]:
    """Each label's correctness in [0, 1]; a label of None is wrong.

    `label`: 1 for the dominant label. `agreement`: the share of raters who chose the label. `group`: the mean of the
    answer's own correctness and the accuracy of all given answers to the same question (DCPO's mixture), which has less
    variance but calibrates the confidence to the question more than to the answer.
    """
    if correctness == "agreement":
        return [_rater_share(completion, label) for completion, label in zip(completions, labels, strict=True)]
    individual = [_is_correct(completion, label) for completion, label in zip(completions, labels, strict=True)]
    if correctness == "label":
        return individual
    groups: defaultdict[Hashable, list[float]] = defaultdict(list)
    for completion, correct in zip(completions, individual, strict=True):
        groups[completion.question].append(correct)
    accuracies = {question: sum(group) / len(group) for question, group in groups.items()}
    return [
        GROUP_WEIGHT * accuracies[completion.question] + (1 - GROUP_WEIGHT) * correct
        for completion, correct in zip(completions, individual, strict=True)
    ]


def _is_correct(completion: Completion, label: str | None) -> float:
    if completion.truth is None:
        raise ValueError(f"question {completion.question}: it has no true label; judge it by agreement with its votes")
    return float(label == completion.truth)


def _rater_share(completion: Completion, label: str | None) -> float:
    total = sum((completion.votes or {}).values())
    if completion.votes is None or not total:
        raise ValueError(
            f"question {completion.question}: correctness by agreement needs rater votes; use label or group"
        )
    return completion.votes.get(label, 0) / total if label is not None else 0.0
