"""What the model of recipes/real says of real faces, read by forward passes: on a busy CPU, much less than decoding.

Not `emocaliber predict`, whose rows it resembles: nothing is generated. The question that all rows share is computed
once, the label's distribution is read where the answer states it, and the label and level are those that greedy
decoding would follow (stages.calibrate.greedy). Stage 3 asks its own model in the same way. Rows are judged by
real_judge.py.

    python -m eval.benchmarks.real read --data out/ferplus.parquet --base out/photo-base --adapter DIR --out rows.jsonl
    python -m eval.benchmarks.real verbalize --data out/ferplus.parquet --base out/photo-base --adapter DIR --out DIR
    python -m eval.benchmarks.real calibrate --data out/calibrate.parquet --base out/photo-base --adapter DIR --out DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.prompting import Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.data.parquet import read_samples
from emocaliber.models.loading import adapted
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.greedy import AnswerReader, greedy_answers
from emocaliber.stages.calibrate.held_out_metrics import Stated
from emocaliber.stages.calibrate.stage import calibrate
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.fast.packing import LOOKED_AT, ROWS, packed, shorten_lora, use_packing
from emocaliber.stages.loading import load_base, load_processor
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import SoftTargetCollator, answer_places, option_logs
from emocaliber.stages.targets import spread_over_levels
from emocaliber.stages.teacher import Answer
from emocaliber.stages.verbalize import verbalize

Floats = npt.NDArray[np.float64]
RECIPES = {"verbalize": Path("recipes/real/2-verbalize.yaml"), "calibrate": Path("recipes/real/3-calibrate.yaml")}
ROWS_AT_A_TIME = 40


class FaceReader:
    """Reads what a model with an adapter would answer, and what it believes."""

    def __init__(self, recipe: Recipe, adapter: Path, template: Template) -> None:
        self.processor: Any = load_processor(recipe.model)
        self.model: Any = adapted(load_base(recipe, recipe.model), adapter).eval()
        use_packing(self.model)
        shorten_lora(self.model)
        self.template, self.bf16 = template, bool(recipe.trainer.get("bf16"))
        paths = AnswerPaths(self.processor, template)
        inner = DataCollatorForVisionLanguageModeling(self.processor, max_length=None, completion_only_loss=True)
        self.reader, self.collator = AnswerReader(self.processor, paths), SoftTargetCollator(inner, paths)

    @torch.no_grad()
    def read(self, samples: Sequence[Sample]) -> tuple[Floats, list[Stated]]:
        """Beliefs over the candidates [n, candidates], all samples' alike, and what is stated; nothing of it by a
        template without a confidence."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            beliefs = self._beliefs(self._rows(samples, [sample.candidates[0] for sample in samples]))
            if "confidence" not in self.template.fields:
                return beliefs, []
            likeliest = [sample.candidates[k] for sample, k in zip(samples, beliefs.argmax(1), strict=True)]
            return beliefs, greedy_answers(self.model, self._rows(samples, likeliest), self.reader)

    def chunks(self, samples: Sequence[Sample]) -> Iterator[tuple[Sequence[Sample], Floats, list[Stated]]]:
        """All samples, some at a time."""
        for start in range(0, len(samples), ROWS_AT_A_TIME):
            part = samples[start : start + ROWS_AT_A_TIME]
            yield (part, *self.read(part))
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

    def _beliefs(self, rows: list[dict[str, Any]]) -> Floats:
        batch = self.collator(rows)
        label, *_ = [batch.pop(key) for key in ("label_field", "level_field", "plain", "correct")]
        places = answer_places(batch.pop("labels")[:, 1:])
        line = packed(self.model, batch)
        asked = line[ROWS].gather(1, places)
        logits = self.model(**line, **{LOOKED_AT: asked}, use_cache=False, logits_to_keep=asked.flatten()).logits
        logits = logits.view(*places.shape, -1)
        logs = option_logs(logits, torch.zeros(logits.shape[:2]), label, places[:, :1])
        found: Floats = logs.double().softmax(-1).numpy()
        return found


class ReadingTeacher:
    """The teacher of stages 2 and 3 by readings."""

    def __init__(self, reader: FaceReader) -> None:
        self.reader = reader

    def label_probabilities(self, samples: Sequence[Sample]) -> list[Floats]:
        """The distribution over each sample's candidates."""
        return [belief for _, beliefs, _ in self.reader.chunks(samples) for belief in beliefs]

    def answers(self, samples: Sequence[Sample], template: Template, draw: int = 0) -> list[Answer]:
        """Label, confidence and belief of each sample; nothing where the model would leave the template's form."""
        return [
            Answer(said.label, said.confidence, belief) if said.formed else Answer(None, None, None)
            for _, beliefs, stated in self.reader.chunks(samples)
            for belief, said in zip(beliefs, stated, strict=True)
        ]


def write_rows(reader: FaceReader, samples: Sequence[Sample], out: Path) -> None:
    """One JSON object a sample: what is known of it, the beliefs, and what was stated."""
    with out.open("w") as file:
        for part, beliefs, stated in reader.chunks(samples):
            for n, sample in enumerate(part):
                said = dataclasses.asdict(stated[n]) if stated else {}
                row = {"id": sample.id, "truth": sample.label, "votes": sample.votes, "second": sample.second_votes,
                       "p": beliefs[n].tolist(), "cands": sample.candidates}  # fmt: skip
                file.write(json.dumps(row | said) + "\n")


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
    chosen, overrides = parser.parse_known_args()
    PartialState(cpu=True)
    recipe = read_recipe(
        RECIPES.get(chosen.action, RECIPES["calibrate"]),
        [f"model={chosen.base}", f"data=[{','.join(map(str, chosen.data))}]", *overrides],
    )
    template = "label" if chosen.action == "verbalize" else chosen.template
    reader = FaceReader(recipe, chosen.adapter, load_template(template))
    rows = [sample for path in chosen.data for sample in read_samples(path)]
    if chosen.action == "read":
        samples = [sample for sample in rows if sample.split == chosen.split]
        last = None if chosen.rows is None else chosen.start + chosen.rows
        write_rows(reader, samples[chosen.start : last], chosen.out)
        return
    teacher: Any = ReadingTeacher(reader)

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield teacher

    chosen.out.mkdir(parents=True)
    train = verbalize if chosen.action == "verbalize" else calibrate
    print(train(recipe, rows, chosen.adapter, chosen.out, opened))


if __name__ == "__main__":
    main()
