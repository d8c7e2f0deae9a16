"""Signals: numbers about an answer that further questions bring, for maps of several of them (calibration.learners).

An engine around another: it answers as that does, then asks more about each answer. So they are journalled and resumed
with the answer they belong to, wherever the engine runs, and what they cost is counted in its tokens and questions.

| signal | the number | questions |
|---|---|---|
| blinded | probability of the label less that with the picture blackened (after BICR, arXiv 2605.10893) | 1 |
| p-true | probability of "yes" to "is this choice right?" (Kadavath et al. 2022) | 1 |
| per-candidate | "yes" to the label over "yes" to any, each candidate asked alone (after DINCO, arXiv 2509.25532) | k |
| pairwise | the label's Bradley-Terry share, from duels with every other candidate (a reconstruction) | k - 1 |
| agreement | share of DRAWS answers at temperature 1 that name the label; `weighted`, by their confidences | 8 |
| turned | how likely the model finds the angle by which the picture was turned ("Trust, but Verify", 2023) | 4 |
| along | mean label probability before, within and after the reasoning, and its rise (after FineCE, 2025) | 3 |
| hidden | not a number but the last hidden state after the label, for a probe (P(IK)) | 0 |
| relative | which of two rows' answers the model is surer of, for pairs of rows: see generation.relative | 8 |

A probability is the engine's where it reports one (a server, of options of one token alone), else what the answer
states: 1 or 0 where it states no confidence, an even share where no label can be read.

    SignalsEngine(engine, ("blinded", "p-true"), load_template("label-confidence"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emocaliber.core.prompting import Template, load_template
from emocaliber.generation.asking_again import EngineWrapper
from emocaliber.generation.engine import Choice, Engine, Request, Response
from emocaliber.generation.readouts import normalised
from emocaliber.generation.respond import choices_of
from emocaliber.reading import read_response

ALONG, HIDDEN, RELATIVE = "along", "hidden", "relative"
DRAWS = 8
YES_NO = ("yes", "no")
DEGREES = ("0", "90", "180", "270")
PLACES = (0.0, 0.5, 1.0)
"""Shares of the reasoning after which `along` asks for the label."""

Score = Callable[[Sequence[Request], Sequence[str], Sequence[str], str], NDArray[np.float64]]
"""`score_continuations` of an engine that can score texts: transformers, vLLM."""
States = Callable[[Sequence[Request], Sequence[str]], NDArray[np.float64]]
"""`hidden_states` of an engine that has them: transformers."""
Asked = Sequence[tuple[Request, Response]]
"""What one signal asked about an answer, and what was replied."""


class SignalsEngine(EngineWrapper):
    """Another engine, whose first answers are asked about: `names` are some of `core.predictions.SIGNALS`.

    `template` is the answer's; further questions go to `base`, the engine beneath any that asks again (default: the
    same). `score` is needed for "along", `states` for "hidden". An answer without a readable label has no signals; one
    of which a further question failed has failed itself.
    """

    def __init__(
        self,
        engine: Engine,
        names: Sequence[str],
        template: Template,
        *,
        base: Engine | None = None,
        score: Score | None = None,
        states: States | None = None,
    ) -> None:
        super().__init__(engine)
        self._base, self._template = base or engine, template
        self._names = tuple(name for name in names if name != RELATIVE)
        self._score, self._states = score, states

    @property
    def name(self) -> str:
        """The engine's name and the signals that are asked for with an answer."""
        return f"{self._engine.name} with signals {' '.join(self._names)}" if self._names else self._engine.name

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order, with its signals; only the first draw's are asked about.

        Questions over several pictures are those of relative confidence: they go to the base as they are.
        """
        if requests and all(request.further_images for request in requests):
            return self._base.generate(requests)
        answers = self._engine.generate(requests)
        labels = [
            read_response(answer.text, request.candidates, finish_reason=answer.finish_reason).label
            for request, answer in zip(requests, answers, strict=True)
        ]
        asked = [
            n for n, (request, label) in enumerate(zip(requests, labels, strict=True)) if label and not request.draw
        ]
        about = [(requests[n], str(labels[n]), answers[n]) for n in asked]
        for n, answer in zip(asked, self._with_numbers(about), strict=True):
            answers[n] = answer
        for n, hidden in zip(asked, self._hidden(about), strict=False):
            answers[n] = replace(answers[n], hidden=hidden)
        return answers

    def _with_numbers(self, about: Sequence[tuple[Request, str, Response]]) -> list[Response]:
        """Each answer with its signals, its tokens and questions with those of what was asked about it."""
        names = [name for name in self._names if name in _QUESTIONS]
        further = [[_QUESTIONS[name](request, label, self._template) for name in names] for request, label, _ in about]
        replies = iter(self._base.generate(list(chain.from_iterable(chain.from_iterable(further)))))
        along = self._along(about)
        result = []
        for (request, label, answer), own, extra in zip(about, further, along, strict=True):
            scored = len(PLACES) if extra else 0
            asked = {
                name: [(question, next(replies)) for question in questions]
                for name, questions in zip(names, own, strict=True)
            }
            every = [reply for pairs in asked.values() for _, reply in pairs]
            counted = replace(
                answer,
                tokens=answer.tokens + sum(reply.tokens for reply in every),
                questions=answer.questions + scored + sum(reply.questions for reply in every),
            )
            values = [_VALUES[name](request, label, answer, pairs) for name, pairs in asked.items()]
            signals = dict(chain.from_iterable(value.items() for value in [extra, *values]))
            result.append(_failed(counted, asked) or replace(counted, signals=signals))
        return result

    def _along(self, about: Sequence[tuple[Request, str, Response]]) -> list[dict[str, float]]:
        """The label's share at PLACES along the reasoning; nothing where the template has none."""
        if ALONG not in self._names or self._score is None or "reasoning" not in self._template.fields:
            return [{} for _ in about]
        opening, closing = self._template.tags("label")
        opened, closed = self._template.tags("reasoning")
        result = []
        for request, label, answer in about:
            reasoning = answer.text.partition(opened)[2].partition(closed)[0]
            starts = [f"{opened}{reasoning[: int(len(reasoning) * share)]}{closed}{opening}" for share in PLACES]
            logs = self._score([request] * len(starts), starts, request.candidates, closing)
            shares = normalised(logs)[:, request.candidates.index(label)]
            result.append({"along": float(shares.mean()), "along-rise": float(shares[-1] - shares[0])})
        return result

    def _hidden(self, about: Sequence[tuple[Request, str, Response]]) -> list[bytes]:
        """Little-endian 16-bit floats; nothing where the signal is not wanted."""
        if HIDDEN not in self._names or self._states is None or not about:
            return []
        texts = [_up_to_label(answer.text, label, self._template) for _, label, answer in about]
        states = self._states([request for request, _, _ in about], texts)
        return [state.astype("<f2").tobytes() for state in states]


def _failed(answer: Response, asked: Mapping[str, Asked]) -> Response | None:
    """The answer, failed as a further question did, so that a repeated run asks both again: no number is made of a
    question that nobody answered. None where all were answered."""
    failed = [(name, reply) for name, pairs in asked.items() for _, reply in pairs if reply.error]
    if not failed:
        return None
    name, reply = failed[0]
    return replace(
        answer, finish_reason=reply.finish_reason, error=f"the question for the signal {name}: {reply.error}"
    )


def _up_to_label(text: str, label: str, template: Template) -> str:
    """The answer as far as the label and what closes it; all of it where that is not found."""
    end = f"{label}{template.tags('label')[1]}" if template.is_tagged("label") else label
    place = text.rfind(end)
    return text if place < 0 else text[: place + len(end)]


def probability_of(label: str, request: Request, response: Response) -> float:
    """What the response gives a label: its share of the options, else the stated confidence, else 1 or 0."""
    return share_of(label, request.candidates, request.choices, response)


def share_of(label: str, candidates: Sequence[str], choices: Sequence[Choice], response: Response) -> float:
    """As `probability_of`, for a request with these candidates and choices."""
    for choice, logs in zip(choices, response.choices, strict=False):
        if logs is not None and label in choice.options:
            return float(normalised(logs)[choice.options.index(label)])
    reading = read_response(response.text, candidates, finish_reason=response.finish_reason)
    if reading.label is None:
        return 1 / len(candidates)
    named = 1.0 if reading.confidence is None else reading.confidence
    return named if reading.label == label else (1 - named) / max(1, len(candidates) - 1)


def _question(request: Request, template: Template, candidates: tuple[str, ...], prompt: str) -> Request:
    """Another question about the same picture, answered with one of these candidates."""
    return replace(
        request,
        prompt=prompt,
        choices=choices_of(template, candidates),
        candidates=candidates,
        pattern=template.pattern(candidates) if request.pattern else "",
        schema=template.schema(candidates) if request.schema and template.is_json else "",
    )


def _blinded(request: Request, label: str, template: Template) -> list[Request]:
    return [replace(request, image=Image.new("RGB", request.image.size))]


def _p_true(request: Request, label: str, template: Template) -> list[Request]:
    own = load_template("p-true")
    return [_question(request, own, YES_NO, own.render(request.candidates, label=label))]


def _per_candidate(request: Request, label: str, template: Template) -> list[Request]:
    own = load_template("one-candidate")
    prompts = [own.render(request.candidates, label=candidate) for candidate in request.candidates]
    return [_question(request, own, YES_NO, prompt) for prompt in prompts]


def _pairwise(request: Request, label: str, template: Template) -> list[Request]:
    """The answer's own question with two candidates, in their usual order."""
    pairs = [tuple(c for c in request.candidates if c in (label, other)) for other in request.candidates]
    first = request.prompt  # of a two-step self-report, too: the first question names the label
    listed = ", ".join(request.candidates)
    return [
        _question(request, template, pair, first.replace(listed, ", ".join(pair))) for pair in pairs if len(pair) == 2
    ]


def _agreement(request: Request, label: str, template: Template) -> list[Request]:
    return [replace(request, draw=draw, temperature=1.0) for draw in range(1, DRAWS + 1)]


def _turned(request: Request, label: str, template: Template) -> list[Request]:
    own = load_template("turned")
    asked = _question(request, own, DEGREES, own.render(DEGREES))
    return [replace(asked, image=asked.image.rotate(-int(angle), expand=True)) for angle in DEGREES]


_QUESTIONS: Mapping[str, Callable[[Request, str, Template], list[Request]]] = {
    "blinded": _blinded,
    "p-true": _p_true,
    "per-candidate": _per_candidate,
    "pairwise": _pairwise,
    "agreement": _agreement,
    "turned": _turned,
}


def _value_of_blinded(request: Request, label: str, answer: Response, asked: Asked) -> dict[str, float]:
    seen, blind = probability_of(label, request, answer), probability_of(label, *asked[0])
    return {"blinded": seen - blind}


def _value_of_p_true(request: Request, label: str, answer: Response, asked: Asked) -> dict[str, float]:
    return {"p-true": probability_of("yes", *asked[0])}


def _value_per_candidate(request: Request, label: str, answer: Response, asked: Asked) -> dict[str, float]:
    yes = np.array([probability_of("yes", *pair) for pair in asked])
    return {"per-candidate": float(yes[request.candidates.index(label)] / max(yes.sum(), 1e-12))}


def _value_pairwise(request: Request, label: str, answer: Response, asked: Asked) -> dict[str, float]:
    """Strengths p_i with p_label / (p_label + p_i) the chance of each duel, and the label's share of their sum."""
    won = np.clip([probability_of(label, *pair) for pair in asked], 1e-6, 1.0)
    return {"pairwise": float(1 / (1 + ((1 - won) / won).sum()))}


def _value_of_agreement(request: Request, label: str, answer: Response, asked: Asked) -> dict[str, float]:
    """Also by stated confidence (confidence-weighted votes, RLCR v2, arXiv 2507.16806), where any states one."""
    readings = [read_response(r.text, request.candidates, finish_reason=r.finish_reason) for _, r in asked]
    named = [reading for reading in readings if reading.label is not None]
    total = sum(reading.confidence or 0.0 for reading in named)
    own = sum(reading.confidence or 0.0 for reading in named if reading.label == label)
    share = sum(reading.label == label for reading in named) / len(asked)
    return {"agreement": share} | ({"weighted": own / total} if total > 0 else {})


def _value_of_turned(request: Request, label: str, answer: Response, asked: Asked) -> dict[str, float]:
    found = [probability_of(angle, *pair) for angle, pair in zip(DEGREES, asked, strict=True)]
    return {"turned": float(np.mean(found))}


_VALUES: Mapping[str, Callable[[Request, str, Response, Asked], dict[str, float]]] = {
    "blinded": _value_of_blinded,
    "p-true": _value_of_p_true,
    "per-candidate": _value_per_candidate,
    "pairwise": _value_pairwise,
    "agreement": _value_of_agreement,
    "turned": _value_of_turned,
}
