"""The answers of the model of recipes/real about real faces by forward passes, which a CPU does faster than decoding.

Unlike `emocaliber predict`, whose rows it resembles, it generates nothing. The prompt that all rows share is computed
once, the label distribution is read at the position where the answer states the label, and label and level are those
that greedy decoding would produce (stages.calibrate.greedy). Stage 3 asks its own model in the same way. real_judge.py
scores the rows.

    python -m eval.benchmarks.real read --data out/ferplus.parquet --base out/photo-base --adapter DIR --out rows.jsonl
    python -m eval.benchmarks.real verbalize --data out/ferplus.parquet --base out/photo-base --adapter DIR --out DIR
    python -m eval.benchmarks.real calibrate --data out/calibrate.parquet --base out/photo-base --adapter DIR --out DIR
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.data.parquet import read_samples
from emocaliber.generation.signals import HIDDEN
from emocaliber.models.loading import adapted
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.resume import inputs_of, run_step
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.greedy import AnswerReader, greedy_answers
from emocaliber.stages.calibrate.held_out_metrics import Stated
from emocaliber.stages.calibrate.stage import calibrate
from emocaliber.stages.examples import TrainingExample, as_dataset, in_splits
from emocaliber.stages.fast.lora import use_bfloat16_lora
from emocaliber.stages.fast.packing import LOSS_INDEX, PACKED_INDEX, pack_batch, use_packing
from emocaliber.stages.loading import load_base, load_processor
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import SoftTargetCollator, answer_positions, option_log_probs
from emocaliber.stages.targets import spread_over_levels
from emocaliber.stages.teacher import Answer
from emocaliber.stages.verbalize import verbalize

Floats = npt.NDArray[np.float64]
RECIPES = {"verbalize": Path("recipes/real/2-verbalize.yaml"), "calibrate": Path("recipes/real/3-calibrate.yaml")}
ROWS_AT_A_TIME = 40


@dataclass(frozen=True)
class FaceReading:
    """What was read of a sample: the belief [candidates] and the last hidden state, as 16-bit floats [width], where the
    label is to be written, and what is stated; None by a template without a confidence."""

    sample: Sample
    belief: Floats
    state: npt.NDArray[np.float16]
    stated: Stated | None

    def as_prediction(self) -> Prediction:
        """The likeliest label, with its probability and its hidden state."""
        sample, shares = self.sample, dict(zip(self.sample.candidates, self.belief.tolist(), strict=True))
        top = max(shares, key=shares.__getitem__)
        return Prediction(
            sample.id, sample.task, sample.group, sample.cluster, sample.label, top, shares[top], State.OK,
            Source.LOGPROB, "teacher", votes=sample.votes, distribution=shares, probability=shares[top],
            hidden=self.state.tobytes(),
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """The row of a file."""
        sample = self.sample
        row = {"id": sample.id, "group": sample.group, "cluster": sample.cluster, "truth": sample.label,
               "votes": sample.votes, "second": sample.second_votes, "p": self.belief.tolist(),
               "cands": sample.candidates, "hidden": base64.b64encode(self.state.tobytes()).decode()}  # fmt: skip
        return row | (dataclasses.asdict(self.stated) if self.stated else {})


class FaceReader:
    """Reads what a model with an adapter would answer, and what it believes."""

    def __init__(self, recipe: Recipe, adapter: Path, template: Template) -> None:
        self.processor: Any = load_processor(recipe.model)
        self.model: Any = adapted(load_base(recipe, recipe.model), adapter).eval()
        use_packing(self.model)
        use_bfloat16_lora(self.model)
        self.template, self.bf16 = template, bool(recipe.trainer.get("bf16"))
        paths = AnswerPaths(self.processor, template)
        inner = DataCollatorForVisionLanguageModeling(self.processor, max_length=None, completion_only_loss=True)
        self.reader, self.collator = AnswerReader(self.processor, paths), SoftTargetCollator(inner, paths)

    @torch.no_grad()
    def read(self, samples: Sequence[Sample]) -> list[FaceReading]:
        """A reading of each sample; all have the same candidates."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            beliefs, states = self._beliefs(self._rows(samples, [sample.candidates[0] for sample in samples]))
            stated: list[Stated | None] = [None] * len(samples)
            if "confidence" in self.template.fields:
                likeliest = [sample.candidates[k] for sample, k in zip(samples, beliefs.argmax(1), strict=True)]
                stated = [*greedy_answers(self.model, self._rows(samples, likeliest), self.reader)]
        return [FaceReading(*each) for each in zip(samples, beliefs, states, stated, strict=True)]

    def readings(self, samples: Sequence[Sample]) -> Iterator[FaceReading]:
        """All samples, some at a time."""
        for start in range(0, len(samples), ROWS_AT_A_TIME):
            part = samples[start : start + ROWS_AT_A_TIME]
            yield from self.read(part)
            print(f"  {start + len(part)} of {len(samples)}", flush=True)

    def _rows(self, samples: Sequence[Sample], labels: Sequence[str]) -> list[dict[str, Any]]:
        stated = {"confidence": 0.5} if "confidence" in self.template.fields else {}
        levels = spread_over_levels(0.5, 0.05) if stated else None
        examples = []
        for sample, label in zip(samples, labels, strict=True):
            even = (1 / len(sample.candidates),) * len(sample.candidates)
            examples.append(TrainingExample(sample, self.template.write(label=label, **stated), even, levels))
        made = as_dataset(examples, self.template)
        return [made[n] for n in range(len(examples))]

    def _beliefs(self, rows: list[dict[str, Any]]) -> tuple[Floats, npt.NDArray[np.float16]]:
        batch = self.collator(rows)
        label, *_ = [batch.pop(key) for key in ("label_field", "level_field", "token_weights", "correct")]
        positions = answer_positions(batch.pop("labels")[:, 1:])
        packed = pack_batch(self.model, batch)
        index = packed[PACKED_INDEX].gather(1, positions)
        outputs = self.model(
            **packed, **{LOSS_INDEX: index}, use_cache=False, logits_to_keep=index.flatten(), output_hidden_states=True
        )
        logits = outputs.logits.view(*positions.shape, -1)
        states = outputs.hidden_states[-1][0, index[:, 0]].float().numpy().astype("<f2")
        log_probs = option_log_probs(logits, torch.zeros(logits.shape[:2]), label, positions[:, :1])
        return log_probs.double().softmax(-1).numpy(), states


class ReadingTeacher:
    """The teacher of stages 2 and 3 by readings."""

    def __init__(self, reader: FaceReader) -> None:
        self.reader = reader

    def label_probabilities(self, samples: Sequence[Sample]) -> list[Floats]:
        """The distribution over each sample's candidates."""
        return [reading.belief for reading in self.reader.readings(samples)]

    def answers(self, samples: Sequence[Sample], template: Template, draw: int = 0) -> list[Answer]:
        """Label, confidence and belief of each sample; nothing where the model would leave the template's form."""
        return [
            Answer(said.label, said.confidence, reading.belief) if said and said.formed else Answer(None, None, None)
            for reading in self.reader.readings(samples)
            for said in [reading.stated]
        ]

    def predictions(self, samples: Sequence[Sample], signals: Sequence[str]) -> list[Prediction]:
        """The likeliest label, its distribution and its hidden state, the one signal that a reading brings."""
        if set(signals) != {HIDDEN}:
            raise UserError(f"signals: {', '.join(signals)}: one forward pass brings {HIDDEN} alone")
        return [reading.as_prediction() for reading in self.reader.readings(samples)]


def write_rows(reader: FaceReader, samples: Sequence[Sample], out: Path) -> None:
    """One JSON object a sample: what is known of it, the belief, and what was stated."""
    write_atomically(out, (json.dumps(reading.as_json()).encode() + b"\n" for reading in reader.readings(samples)))


def main() -> None:
    """Read, or teach stage 2 or 3 by readings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("read", "verbalize", "calibrate"))
    parser.add_argument("--data", type=Path, nargs="+", help="Parquet files of pictures")
    parser.add_argument("--base", help="folder of the base")
    parser.add_argument("--adapter", type=Path, help="folder of the adapter")
    parser.add_argument("--template", default="label-confidence", help="default: label-confidence")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--start", type=int, default=0, help="first row of the split (default: 0)")
    parser.add_argument("--rows", type=int, help="so many of them (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="file of rows, or folder of a stage")
    arguments, overrides = parser.parse_known_args()
    PartialState(cpu=True)
    recipe = read_recipe(
        RECIPES.get(arguments.action, RECIPES["calibrate"]),
        [f"model={arguments.base}", f"data=[{','.join(map(str, arguments.data))}]", *overrides],
    )
    template = "label" if arguments.action == "verbalize" else arguments.template
    reader = FaceReader(recipe, arguments.adapter, load_template(template))
    rows = [sample for path in arguments.data for sample in read_samples(path)]
    if arguments.action == "read":
        samples = [sample for sample in rows if sample.split == arguments.split]
        last = None if arguments.rows is None else arguments.start + arguments.rows
        write_rows(reader, samples[arguments.start : last], arguments.out)
        return
    teacher: Any = ReadingTeacher(reader)

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield teacher

    train = verbalize if arguments.action == "verbalize" else calibrate
    inputs = inputs_of(recipe, arguments.adapter, in_splits(rows, recipe.splits, recipe.data))
    print(run_step(arguments.out, inputs, lambda out: train(recipe, rows, arguments.adapter, out, opened)))


if __name__ == "__main__":
    main()
