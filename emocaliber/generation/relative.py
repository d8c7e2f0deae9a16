"""Relative confidence: which of two of its own answers is the model surer of? A signal (see signals) of pairs of rows.

After "Language Models Prefer What They Know" (arXiv 2502.01126), whose questions are texts: here a question shows both
pictures and quotes both answers. Every row is paired with MATCHES others of the same task and labels, drawn by a seed;
each pair is asked in both orders, so that a preference for a position cancels. A Bradley-Terry model turns the matches
into log strengths, which are the signal: above 0 for an answer that is preferred to that of an average row.

A score says where a row stands among the rows that it was compared with. A map that was fitted on such scores holds for
other rows only if these were compared with the rows of the fit (`opponents`), whose scores stay as they are. That takes
two questions a match; within a run two rows share them, and it takes one.

    compare(samples, engine, Path("out/answers"), template, method="model", draws=1, seed=0)
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from emocaliber.calibration.bradley_terry import log_strengths
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, ImageError, image_hash, read_image_bytes
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Engine, Request, Response
from emocaliber.generation.harness import JOURNAL, advancing, progress_bar
from emocaliber.generation.journal import Journal, content_key
from emocaliber.generation.questions import Question, RemoteEngine, image_error
from emocaliber.generation.readouts import Record, read_records, responses_file, write_predictions_of, write_records
from emocaliber.generation.respond import answered, choices_of, picture_of
from emocaliber.generation.signals import RELATIVE, share_of
from emocaliber.reading import read_response

MATCHES = 8
"""Matches of each row, an even number: it plays both its neighbours in each of MATCHES / 2 circles of all rows."""
ORDER = ("first", "second")
GIVE_UP = 2 * MATCHES
"""If all of so many questions fail, the first ones, no more are asked."""


@dataclass(frozen=True)
class Player:
    """A row with a readable answer; `strength` is its score if that is known from an earlier run."""

    sample: Sample
    label: str
    strength: float | None = None


@dataclass
class Comparison:
    """The number of `pairs` that were compared, of questions `queried` now and not in the journal, and of pairs whose
    questions `failed`, with the first error."""

    pairs: int = 0
    queried: int = 0
    failed: int = 0
    first_error: str = ""


def compare(
    samples: Iterable[Sample],
    engine: Engine | RemoteEngine,
    out: Path,
    template: Template,
    *,
    method: str,
    draws: int,
    seed: int,
    constrain: bool = False,
    max_pixels: int = SHOWN_PIXELS,
    opponents: Sequence[Player] = (),
) -> Comparison:
    """Compare the rows that `harness.generate` has written to `out` with each other, or each with some `opponents`, and
    write responses and predictions again, with the scores.

    `template` is that of the answers. A pair of which a question failed does not count, and is asked again in the next
    run; a row without any pair that counts has no score. Raises UserError if no question over two pictures is answered.
    """
    labels = _labels(responses_file(out, 0))
    rows = [Player(sample, labels[sample.id]) for sample in samples if sample.id in labels]
    players = [*rows, *opponents]
    pairs = pairs_against(players, len(rows), seed) if opponents else pairs_within(rows, seed)
    costs = {row.sample.id: _Cost() for row in rows}
    questions = _Questions(engine.name, constrain, max_pixels)
    won, outcome = _played(players, pairs, questions, engine, out, costs)
    first, second = np.array(list(won), np.intp).reshape(-1, 2).T
    known = [np.nan if player.strength is None else player.strength for player in players]
    strengths = log_strengths(len(players), first, second, list(won.values()), known=known)
    compared = {n for pair in won for n in pair if n < len(rows)}
    _write(out, {rows[n].sample.id: float(strengths[n]) for n in compared}, costs)
    write_predictions_of(out, template, method=method, draws=draws)
    return outcome


def _played(
    players: Sequence[Player],
    pairs: Sequence[tuple[int, int]],
    questions: _Questions,
    engine: Engine | RemoteEngine,
    out: Path,
    costs: dict[str, _Cost],
) -> tuple[dict[tuple[int, int], float], Comparison]:
    """For each pair that counts, the share of the match that its first row won; and what was compared.

    A question's cost is that of the row whose picture it shows first, or of the only one that is no opponent.
    """
    won: dict[tuple[int, int], float] = {}
    outcome = Comparison(len(pairs))
    shown = ((players[one], players[other]) for pair in pairs for one, other in (pair, pair[::-1]))
    with (
        Journal(out / JOURNAL) as journal,
        closing(answered(shown, questions.about, engine, journal)) as responses,
        progress_bar() as bar,
    ):
        replies = advancing(responses, bar, bar.add_task("comparing", total=2 * len(pairs)))
        for forward, backward, pair in zip(replies, replies, pairs, strict=True):
            own, other = (players[n].sample.id for n in pair)
            costs[own].add(forward)
            costs[other if players[pair[1]].strength is None else own].add(backward)
            if error := forward.error or backward.error:
                outcome.failed += 1
                outcome.first_error = outcome.first_error or error
                _refuse_silence(outcome, len(won), ended=outcome.failed == len(pairs))
            else:
                won[pair] = (questions.preference(forward) + 1 - questions.preference(backward)) / 2
        outcome.queried = journal.added
    return won, outcome


def pairs_within(rows: Sequence[Player], seed: int) -> list[tuple[int, int]]:
    """Pairs of places in the list, each once: in every circle of the rows of one task, all neighbours are a pair.

    A row's place in a circle depends on the seed and its id, so that a row more changes few of the pairs. Circles keep
    the rows connected, without which their strengths could not be compared.
    """
    pairs: dict[tuple[int, int], None] = {}
    for group in _groups(rows).values():
        for circle in range(MATCHES // 2):
            order = sorted(group, key=lambda n: _number(seed, circle, rows[n].sample.id))
            for one, other in zip(order, order[1:] + order[:1], strict=True):
                if one != other:
                    pairs[min(one, other), max(one, other)] = None
    return list(pairs)


def pairs_against(players: Sequence[Player], rows: int, seed: int) -> list[tuple[int, int]]:
    """Each of the first `rows` players with at most MATCHES of the others, its opponents, drawn by seed and id."""
    opponents = _groups(players[rows:])
    pairs = []
    for n, player in enumerate(players[:rows]):
        there = [rows + m for m in opponents.get(_group(player), ()) if players[rows + m].sample.id != player.sample.id]
        random = np.random.default_rng(_number(seed, 0, player.sample.id))
        chosen = random.choice(len(there), min(MATCHES, len(there)), replace=False) if there else ()
        pairs += [(n, there[m]) for m in chosen]
    return pairs


def _groups(players: Sequence[Player]) -> dict[tuple[str, ...], list[int]]:
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for n, player in enumerate(players):
        groups[_group(player)].append(n)
    return groups


def _group(player: Player) -> tuple[str, ...]:
    return (player.sample.task, *player.sample.candidates)


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _labels(responses: Path) -> dict[str, str]:
    """The label that each readable answer names, by the row's id."""
    labels = {}
    for record in read_records(responses):
        answer = record.response
        reading = read_response(answer.text, record.candidates, finish_reason=answer.finish_reason)
        if reading.label is not None:
            labels[record.id] = reading.label
    return labels


@dataclass(frozen=True)
class _Questions:
    """Questions over two pictures, and what the replies say."""

    engine: str
    constrain: bool
    max_pixels: int
    template: Template = field(default_factory=lambda: load_template(RELATIVE))

    def about(self, shown: tuple[Player, Player]) -> Question | Response:
        """The question about two rows in this order; or an image error."""
        first, second = shown
        name = f"{first.sample.id} and {second.sample.id}"
        choices = choices_of(self.template, ORDER)
        quoted = f"{first.label} for the first image, {second.label} for the second"
        prompt = self.template.render(first.sample.candidates, label=quoted)
        pattern = self.template.pattern(ORDER) if self.constrain else ""
        try:
            encoded = [read_image_bytes(player.sample.image) for player in shown]
        except ImageError as error:
            return image_error(name, choices, error)
        hashes = [image_hash(content) for content in encoded]
        key = content_key(*hashes, prompt, pattern, self.template.hash, self.engine, self.max_pixels)
        pictures = tuple(picture_of(player.sample, content) for player, content in zip(shown, encoded, strict=True))
        asked = partial(Request, name, prompt=prompt, choices=choices, pattern=pattern, candidates=ORDER)
        return Question(key, name, choices, pictures, self.max_pixels, asked)

    def preference(self, reply: Response) -> float:
        """The share of the choice about the first picture, from 0 to 1, in the reply."""
        return share_of(ORDER[0], ORDER, choices_of(self.template, ORDER), reply)


@dataclass
class _Cost:
    """What a row's share of the questions cost."""

    tokens: int = 0
    questions: int = 0

    def add(self, reply: Response) -> None:
        self.tokens += reply.tokens
        self.questions += reply.questions


def _refuse_silence(outcome: Comparison, counted: int, *, ended: bool) -> None:
    """Raises UserError if nothing was answered: none of the first questions, or none at all."""
    if counted or not (ended or 2 * outcome.failed >= GIVE_UP):
        return
    raise UserError(
        f"--signals {RELATIVE} asks questions that show two pictures, and none of them was answered:"
        f" {outcome.first_error}; a model whose chat template takes one picture cannot give this signal: leave it out,"
        " the answers are kept"
    )


def _write(out: Path, scores: dict[str, float], costs: dict[str, _Cost]) -> None:
    """The responses of the first draw with their scores and what these cost."""

    def scored() -> Iterator[Record]:
        for record in read_records(responses_file(out, 0)):
            answer, cost = record.response, costs.get(record.id, _Cost())
            signals = answer.signals | ({RELATIVE: scores[record.id]} if record.id in scores else {})
            tokens, questions = answer.tokens + cost.tokens, answer.questions + cost.questions
            response = replace(answer, signals=signals, tokens=tokens, questions=questions)
            yield msgspec.structs.replace(record, response=response)

    write_records(responses_file(out, 0), scored())
