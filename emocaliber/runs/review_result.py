"""What comes of a review: the finished set, a label and its source for each row, and the guarantee in words and JSON.

`labels.csv`, or another name that ends in .csv, .jsonl or .parquet, has the columns id, label (empty where people
could not tell), source ("model", "person", or "given" where the predictions came with it), confidence (the model's) and
model (its label). `guarantee.json` and `guarantee.md` say what is promised, on what assumptions, and how many rows were
looked at.

    write_result(review, "labels.parquet")
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber import __version__
from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.runs.review import Phase, Review
from emocaliber.runs.review_journal import UNCLEAR

SUFFIXES = (".csv", ".jsonl", ".parquet")
GUARANTEE, GUARANTEE_TEXT = "guarantee.json", "guarantee.md"
COLUMNS = ("id", "label", "source", "confidence", "model")
MODEL, PERSON, GIVEN = "model", "person", "given"
ASSUMPTIONS = (
    "A person's label is right: an error is a label that the people who answered would not have given.",
    "{drawn}, and every row of it was answered without regard to the model's label.",
    "The promise is about this set of rows as a whole; it says nothing about other pictures, or about a part of them.",
    "It is a promise about the draw: of many reviews made so, at most the stated share finish with more errors.",
)


DRAWN = "The sample was drawn at random by this program, before anything was answered"
LABELLED = "The sample, {file}, was drawn at random from all these rows, by you and not by their confidence"
"""The second of the assumptions."""


def finished_rows(review: Review) -> list[dict[str, Any]]:
    """A row of COLUMNS for each row of the set, in order. Label null: the person could not tell."""
    kept = review.kept()
    rows = []
    for name, row in review.rows.items():
        if name in review.answers:
            label = None if review.answers[name] == UNCLEAR else review.answers[name]
            source = PERSON
        elif row.truth is not None:
            label, source = row.truth, GIVEN
        else:
            assert kept[name]
            label, source = row.predicted, MODEL
        rows.append(dict(zip(COLUMNS, (name, label, source, row.confidence, row.predicted), strict=True)))
    return rows


def guarantee(review: Review) -> dict[str, Any]:
    """What can be said of the finished set, as plain values."""
    record, kept = review.record, review.kept()
    from_model = [name for name, keep in kept.items() if keep and name not in review.answers]
    mistakes = [name for name in record.sample if review.answers[name] != review.rows[name].predicted]
    drawn = LABELLED.format(file=Path(record.labelled).name) if record.labelled else DRAWN
    confidences = [value for name in from_model if (value := review.rows[name].confidence) is not None]
    return {
        "error_at_most": record.error,
        "certainty": record.certainty,
        "certainty_reached": record.certainty_reached,
        "errors_at_most": record.left,
        "rows": len(review.rows),
        "looked_at": len(review.answers),
        "given": sum(row.truth is not None for row in review.rows.values()),
        "labels_from_model": len(from_model),
        "lowest_confidence_kept": min(confidences, default=None),
        "sample": len(record.sample),
        "mistakes_in_sample": len(mistakes),
        "mistakes_in_sample_among_kept": sum(kept[name] for name in mistakes),
        "mistakes_allowed_among_kept": record.allowed,
        "unclear": sum(label == UNCLEAR for label in review.answers.values()),
        "assumptions": [each.format(drawn=drawn) for each in ASSUMPTIONS],
        "method": "PAC labels (arXiv 2506.10908) with the exact hypergeometric bound for a sample without replacement",
        "predictions": record.predictions,
        "fingerprint": record.fingerprint,
        "seed": record.seed,
        "started": record.started,
        "emocaliber": __version__,
    }


def sentence(facts: dict[str, Any]) -> str:
    """The promise in one sentence."""
    return (
        f"At most {percent(facts['error_at_most'])} of these {facts['rows']:,} labels are wrong"
        f" ({facts['errors_at_most']:,} rows), with {percent(facts['certainty'])} certainty: people looked at"
        f" {facts['looked_at']:,}, and {facts['labels_from_model']:,} labels are the model's."
    )


def write_result(review: Review, name: str) -> dict[str, Any]:
    """Write the finished set and its guarantee into the review's folder. Raises UserError where rows are unanswered."""
    if review.phase is not Phase.DONE:
        raise UserError(f"{review.folder}: {len(review.queue()):,} rows are not answered yet")
    facts = guarantee(review)
    write_atomically(review.folder / name, [_encoded(finished_rows(review), Path(name).suffix)])
    write_atomically(review.folder / GUARANTEE, [json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n"])
    write_atomically(review.folder / GUARANTEE_TEXT, [_text(facts, name).encode()])
    return facts


def _text(facts: dict[str, Any], name: str) -> str:
    seen, allowed = facts["mistakes_in_sample_among_kept"], facts["mistakes_allowed_among_kept"]
    why = (
        f"{facts['sample']:,} rows were drawn at random and answered by people, who disagreed with the model on"
        f" {facts['mistakes_in_sample']:,}. Going from the model's surest label down, its labels were kept until the"
        f" sample would have shown more than {allowed:,} mistakes ({seen:,} seen, all mended); every other row was"
        f" looked at. The exact certainty of this rule is {100 * facts['certainty_reached']:.2f} %."
    )
    lines = [f"# The guarantee of {name}", "", sentence(facts), "", why, "", "It rests on this:", ""]
    lines += [f"- {each}" for each in facts["assumptions"]]
    if facts["unclear"]:
        lines += ["", f"On {facts['unclear']:,} rows people could not tell; they have no label."]
    return "\n".join([*lines, "", f"Method: {facts['method']}.", ""])


def _encoded(rows: list[dict[str, Any]], suffix: str) -> bytes:
    if suffix == ".jsonl":
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    if suffix == ".parquet":
        texts = dict.fromkeys(COLUMNS, pa.string()) | {"confidence": pa.float64()}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(texts)), sink)
        return bytes(sink.getvalue())
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def percent(share: float) -> str:
    """A share in per cent, as short as it can be."""
    return f"{100 * share:.4g} %"
