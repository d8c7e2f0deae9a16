"""What sampled answers earn: read by the one parser, held against the label or the raters, paid by a reward.

No trainer and no torch: stage 3 by reinforcement pays with this, and so does `emocaliber.rewards` in other trainers.
Right is the label, the raters' share, or half the group's accuracy. Every reward is linear in correctness, so with any
of the three the confidence that pays best is the expected correctness, and a reward that is safe stays safe.

    rewards_of(named_reward("brier-1"), completions_of(texts, {"candidates": [...], "label": [...]}), "label")
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import Correctness
from emocaliber.stages.rewards import Reward, never_best, stated

TRUTHS = ("label", "truth", "ground_truth", "target", "solution", "answer")
"""Columns that may hold the true label, the surest first."""
CANDIDATES = ("candidates", "labels", "choices")
"""Columns that may hold the labels to choose from, a list a row."""
GROUP_WEIGHT = 0.5
"""Weight of the group's accuracy in its mixture with the answer's own correctness (DCPO, arXiv 2603.09117)."""


@dataclass(frozen=True)
class Completion:
    """One sampled answer and what it is judged by. Answers to one question share `question`; `votes` count raters."""

    text: str
    question: Hashable
    candidates: tuple[str, ...]
    truth: str | None
    votes: Mapping[str, int] | None = None


def completions_of(
    completions: Sequence[Any], columns: Mapping[str, Any], labels: Sequence[str] = ()
) -> list[Completion]:
    """The completions beside what they are judged by, from the columns of their dataset, a value a completion.

    `labels` are the candidates of rows that have no column of CANDIDATES; the true label may be one of them or its
    number. `votes` counts raters. Raises UserError naming column and row.
    """
    n = len(completions)
    shown, truths, votes = _column(columns, CANDIDATES), _column(columns, TRUTHS), _column(columns, ("votes",))
    if shown is None and not labels:
        raise UserError(
            f"nothing says which labels there are to choose from: add a column 'candidates' to {_named(columns)};"
            " or name them: reward_function('brier-1', labels=['joy', 'fear', ...]), or labels='mikels-8'"
        )
    if truths is None and votes is None:
        raise UserError(f"no column of true labels ({', '.join(TRUTHS)}) or votes; there are {_named(columns)}")
    questions = _column(columns, ("question", "id")) or range(n)
    nothing = [None] * n
    rows = zip(completions, questions, shown or [labels] * n, truths or nothing, votes or nothing, strict=True)
    return [
        _completion(row, completion, question, candidates, truth, counts)
        for row, (completion, question, candidates, truth, counts) in enumerate(rows)
    ]


def _completion(row: int, completion: Any, question: Hashable, shown: Any, truth: Any, votes: Any) -> Completion:
    if isinstance(shown, str) or not all(isinstance(name, str) for name in shown):
        raise UserError(f"row {row}: the candidates are {shown!r}; give a list of labels")
    candidates = tuple(shown)
    counts = None if votes is None else _votes(row, votes, candidates)
    return Completion(text_of(completion), question, candidates, _truth(row, truth, candidates), counts)


def _truth(row: int, stated_truth: Any, candidates: tuple[str, ...]) -> str | None:
    """The true label as the candidates spell it; a whole number counts them from 0."""
    if stated_truth is None:
        return None
    if isinstance(stated_truth, int) and not isinstance(stated_truth, bool) and 0 <= stated_truth < len(candidates):
        return candidates[stated_truth]
    folded = {name.strip().casefold(): name for name in candidates}
    if isinstance(stated_truth, str) and (name := folded.get(stated_truth.strip().casefold())) is not None:
        return name
    raise UserError(f"row {row}: the true label {stated_truth!r} is not among the candidates {list(candidates)}")


def _votes(row: int, votes: Any, candidates: tuple[str, ...]) -> Mapping[str, int]:
    """Counts by label, of a mapping, of a list of a label and its count each (as our Parquet files hold them), or of
    numbers in the order of the candidates. Arrow fills in the keys that a row lacks, with None."""
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
    """A completion's text, plain or that of a chat's last message: of one in parts, the texts one after the other."""
    if isinstance(completion, str):
        return completion
    content = (completion[-1].get("content") if completion else "") or ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


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
    own = [_own(completion, label) for completion, label in zip(completions, labels, strict=True)]
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


def _own(completion: Completion, label: str | None) -> float:
    if completion.truth is None:
        raise ValueError(f"question {completion.question}: it has no true label; judge it by agreement with its votes")
    return float(label == completion.truth)


def _share(completion: Completion, label: str | None) -> float:
    total = sum((completion.votes or {}).values())
    if completion.votes is None or not total:
        raise ValueError(
            f"question {completion.question}: correctness by agreement needs rater votes; use label or group"
        )
    return completion.votes.get(label, 0) / total if label is not None else 0.0
