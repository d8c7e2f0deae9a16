"""An answer: everything that the terminal and the page show about one response, in plain words.

Text is read by `emocaliber.reading` alone; how often answers like it were right comes from the record, which is quoted
only for its own labels and always with the pictures that it is about: a user's own file is of that kind only where the
user says so, by --calibration.

    emocaliber ask --json PICTURE
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emocaliber.calibration.conformal import Floats
from emocaliber.chat.model import ModelChoice
from emocaliber.chat.record import ROUNDING, Selection, SimilarAnswers
from emocaliber.core.predictions import Held, Prediction, Reason, Source, State
from emocaliber.core.prompting import Template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Response
from emocaliber.generation.readouts import normalised, rows_of
from emocaliber.generation.respond import chosen_fields
from emocaliber.reading import STEPS, read_response, reasoning_of, reasoning_steps

STATED, PROBABILITY = "as the model states it", "by the model's own label probabilities, which are not calibrated"

UNREADABLE = {
    State.MISSING_LABEL: "The answer names none of the labels to choose from.",
    State.UNKNOWN_LABEL: "The answer names a label that was not among those to choose from.",
    State.AMBIGUOUS_LABEL: "The answer names more than one label, or denies one: it does not decide.",
    State.MISSING_CONFIDENCE: "The model did not state a confidence.",
    State.NOT_A_NUMBER: "The stated confidence is not a number.",
    State.OUT_OF_RANGE: "The stated confidence lies outside 0 to 1, so it means nothing.",
    State.TRUNCATED: "The answer was cut off before it was complete.",
    State.EMPTY: "The model gave an empty answer.",
    State.ENGINE_ERROR: "The model failed on this question.",
    State.IMAGE_ERROR: "The picture could not be used.",
}
NEVER_MEASURED = "How often answers like this are right has never been measured."

_TITLES = ("What stands out", "People", "Surroundings", "How these interact", "What follows")
REASONING_STEPS = dict(zip(STEPS, _TITLES, strict=True))
"""EmoCaliber's five steps, and their titles here."""
REASONING = "Reasoning"
FIELDS = {"answer": "Emotion", "confidence": "Stated confidence", "distribution": "Shares"}

_ANY_TAG = re.compile(rf"<(/?)(think|{'|'.join(REASONING_STEPS | FIELDS)})>", re.IGNORECASE | re.ASCII)
_UNFINISHED_TAG = re.compile(r"</?[A-Za-z]{0,12}\Z")


@dataclass(frozen=True)
class Answer:
    """A response, read.

    `name` is the picture's, `question` what was typed (empty for the trained question). `label` and `confidence` are
    as in `Reading`; `alternatives` maps labels to their shares, the likeliest first, and `alternatives_from` says whose
    shares they are; `prediction_set` are the labels that hold the answer with a promised probability, where sets were
    fitted for these labels, and `set_sentence` says so; `reason` and `doubt_sentence` say why to doubt it, where a map
    of doubts was fitted; `reasoning` maps the steps' titles to their texts; `record` says how often answers like it
    were right, and on which pictures.
    """

    name: str
    question: str
    labels: tuple[str, ...]
    label: str | None
    confidence: float | None
    state: State
    alternatives: dict[str, float]
    alternatives_from: str
    reasoning: dict[str, str]
    text: str
    error: str
    threshold: float
    record: str
    prediction_set: tuple[str, ...] = ()
    set_sentence: str = ""
    reason: Reason | None = None
    doubt_sentence: str = ""

    @property
    def trusted(self) -> bool:
        """Whether the stated confidence reaches the threshold."""
        return self.label is not None and self.confidence is not None and self.confidence >= self.threshold - ROUNDING

    @property
    def sentence(self) -> str:
        """Whether the answer is trusted and why, or why it cannot be read."""
        problem = "" if self.state is State.OK else UNREADABLE[self.state]
        if self.label is None:
            return f"{problem} {self.error}".strip()
        if self.confidence is None:
            return f"Not trusted: how sure the model is cannot be read. {problem}".strip()
        if self.trusted:
            return f"Trusted: it reaches the threshold of {percent(self.threshold)}."
        return f"Not trusted: it is below the threshold of {percent(self.threshold)}."

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "picture": self.name,
            "question": self.question,
            "labels": list(self.labels),
            "label": self.label,
            "confidence": self.confidence,
            "state": self.state.value,
            "trusted": self.trusted,
            "threshold": self.threshold,
            "sentence": self.sentence,
            "record": self.record,
            "prediction_set": list(self.prediction_set),
            "set_sentence": self.set_sentence,
            "reason": self.reason,
            "doubt_sentence": self.doubt_sentence,
            "alternatives": self.alternatives,
            "alternatives_from": self.alternatives_from,
            "reasoning": self.reasoning,
            "text": self.text,
            "error": self.error,
        }


def read_answer(
    response: Response,
    choice: ModelChoice,
    labels: Sequence[str],
    *,
    name: str,
    threshold: float,
    question: str = "",
    features: Floats | None = None,
) -> Answer:
    """What a response says. `features` [1, w] are the picture's, where the map of doubts wants them: without them
    nothing is said of unfamiliar pictures. Raises nothing: what cannot be read is a state."""
    reading = read_response(response.text, labels, finish_reason=response.finish_reason)
    shares, source = reading.distribution or {}, STATED
    if not shares and reading.label is not None:
        shares, source = _probabilities(response, choice.template, labels), PROBABILITY
    record = "" if reading.label is None else NEVER_MEASURED
    if reading.label is not None and reading.confidence is not None and not question:  # only the trained one is known
        task = choice.record.task_with(labels)
        similar = None if task is None else task.similar(reading.confidence)
        record = NEVER_MEASURED if similar is None else quote(similar, vouched_for=choice.record_is_vouched_for)
    held, doubted = None, None
    if not question and reading.label is not None:
        held = _with_set(response, choice, labels, name)
        doubted = _with_doubt(response, choice, labels, name, features)
    return Answer(
        name,
        question,
        tuple(labels),
        reading.label,
        reading.confidence,
        reading.state,
        dict(sorted(shares.items(), key=lambda item: -item[1])),
        source if shares else "",
        titled_steps(response.text),
        response.text,
        response.error,
        threshold,
        record,
        () if held is None else held.prediction_set or (),
        "" if held is None else set_sentence(held),
        None if doubted is None else doubted.reason,
        "" if doubted is None else doubt_sentence(doubted),
    )


def _with_set(response: Response, choice: ModelChoice, labels: Sequence[str], name: str) -> Prediction | None:
    """The response as a row of the kind that the sets were fitted on, with its set; None if there are no sets for these
    labels, or the template gives no such row."""
    if choice.sets is None or (task := choice.sets.task_with(labels)) is None:
        return None
    sample = Sample(name, b"", task, tuple(labels), None, "", "", name)
    row = rows_of(sample, response, choice.template, method="").get(choice.sets.source)
    return None if row is None else choice.sets.apply([row])[0]


def _with_doubt(
    response: Response, choice: ModelChoice, labels: Sequence[str], name: str, features: Floats | None
) -> Prediction | None:
    """The response as a row with its doubts; None without a map, or if the template gives no distribution over the
    labels."""
    if choice.doubt is None:
        return None
    sample = Sample(name, b"", "", tuple(labels), None, "", "", name)
    rows = rows_of(sample, response, choice.template, method="")
    row = rows.get(Source.LOGPROB) or next(iter(rows.values()), None)
    return None if row is None else choice.doubt.apply([row], features)[0]


def doubt_sentence(row: Prediction) -> str:
    """The reason for doubt and what to do about it; empty if there is none."""
    if row.reason is Reason.UNFAMILIAR:
        return "Unfamiliar: the picture is unlike those that the model knows, so let a person look at it."
    if row.reason is Reason.AMBIGUOUS:
        return (
            f"People differ about such a picture: two of them would name different emotions with"
            f" {percent(row.doubt_people or 0)} probability, and more than one answer may be right."
        )
    return ""


def set_sentence(row: Prediction) -> str:
    """ "Sadness or fear: for 90 % of pictures like those that it was fitted on, the label is among them"."""
    names = list(row.prediction_set or ())
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    answer = "the label" if row.set_holds is Held.LABEL else "what one more person says"
    among = "it" if len(names) == 1 else "among them"
    return (
        f"{listed[0].upper()}{listed[1:]}: for {percent(row.set_coverage or 0)} of pictures like those that this was"
        f" fitted on, {answer} is {among}."
    )


def _probabilities(response: Response, template: Template, labels: Sequence[str]) -> dict[str, float]:
    logs = dict(zip(chosen_fields(template), response.choices, strict=False)).get("label")
    return {} if logs is None else dict(zip(labels, normalised(logs).tolist(), strict=True))


def quote(similar: SimilarAnswers, *, vouched_for: bool) -> str:
    """How often similar answers were right, and on which pictures. `vouched_for` says that the user declared the
    record's pictures to be like theirs."""
    span = percent(similar.low)
    span = span if similar.low == similar.high else f"{span} to {percent(similar.high)}"
    counts = f"{similar.right:,} of {similar.answers:,} that stated {span}"
    often = often_right(similar.share)
    if vouched_for:
        return f"{often[0].upper()}{often[1:]}: {counts}, on held-out pictures of {similar.task}."
    return (
        f"For pictures of {similar.task}, {often} ({counts}, held out from training)."
        " For other pictures it has never been measured."
    )


def often_right(share: float) -> str:
    """A share of right answers, rounded to tenths: "8 in 10 answers like this were right"."""
    tenths = int(10 * share + 0.5)
    if tenths == 0:
        return "hardly any answer like this was right"
    if tenths == 10:
        return "nearly all answers like this were right"
    return f"{tenths} in 10 answers like this {'was' if tenths == 1 else 'were'} right"


def threshold_meaning(threshold: float, labels: Sequence[str], choice: ModelChoice) -> str:
    """What trusting answers from this threshold on would have meant for the record's pictures."""
    task = choice.record.task_with(labels)
    return _meaning(threshold, None if task is None else task.selection(threshold), choice.record_is_vouched_for)


def _meaning(threshold: float, selection: Selection | None, vouched_for: bool) -> str:
    at = f"Trusting answers that state {percent(threshold)} or more"
    if selection is None:
        return f"{at}: what this means for these labels has never been measured."
    pictures = f"{selection.pictures:,} held-out pictures of {selection.task}"
    caveat = "" if vouched_for else " For other pictures it has never been measured."
    if selection.accuracy is None:
        return f"{at}: of {pictures}, none would have had a trusted answer.{caveat}"
    return (
        f"{at}: of {pictures}, {percent(selection.coverage)} would have had a trusted answer, and"
        f" {percent(selection.accuracy)} of these answers were right.{caveat}"
    )


def percent(share: float) -> str:
    """A share in per cent, without decimals, with a no-break space; what would round to 0 is "under 1 %"."""
    if 0 < share < 0.005:
        return "under\u00a01\u00a0%"
    return f"{100 * share:.0f}\u00a0%"


def titled_steps(text: str) -> dict[str, str]:
    """The title and text of each reasoning step, in order; the whole reasoning under REASONING if it has no steps.
    Empty without reasoning."""
    reasoning = reasoning_of(text)
    steps = {REASONING_STEPS[name]: words for name, words in reasoning_steps(reasoning).items()}
    return steps or ({REASONING: reasoning} if reasoning else {})


def readable(text: str) -> str:
    """An unfinished answer for display: known tags become titles, each on its own line."""
    titles = REASONING_STEPS | FIELDS

    def title(tag: re.Match[str]) -> str:
        return f"\n{titles[tag[2].lower()]}: " if not tag[1] and tag[2].lower() in titles else "\n"

    lines = (line.strip() for line in _ANY_TAG.sub(title, _UNFINISHED_TAG.sub("", text)).splitlines())
    return "\n".join(line for line in lines if line)
