"""Settings of stage 2, tried from one stage-1 model and one asking, and judged on fresh rows and on taught ones.

Not the stage itself: the loss is stage 2's, the loop its own, cheap enough for a shared CPU. Nothing is chosen on test
rows: fresh rows are those of the calibration split, which gave stage 2 no more than a temperature.

    emocaliber train recipes/tiny/1-label.yaml seed=0 --out out/1-label
    python -m eval.benchmarks.stage_2_variants out/1-label/adapter --out out/variants \\
        '{"name": "as in the recipe"}' '{"name": "batches of 16", "batch": 16, "learning_rate": 0.001}'

Each variant is a JSON object with keys of `Variant`; those that the folder holds already are only read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from scipy.special import entr

from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.data.embedded import samples_in
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.discrimination import auroc
from emocaliber.evaluation.verbalization import difference
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.targets import (
    distilled_examples,
    nearest_level,
    scaled_beliefs,
    spread_over_levels,
    temperatures_of,
)
from emocaliber.stages.teacher import Beliefs
from eval.benchmarks.stage_2_forward import Forward

Floats = npt.NDArray[np.float64]
SPLITS = ("unlabelled", "train")
TAUGHT = 700
"""Unlabelled pictures among those that a variant learned, on which it is judged, too."""


@dataclass(frozen=True)
class Variant:
    """A way to run stage 2: the `share` of the pictures, how often and in which batches they are learned, how many
    `others` than the likeliest label are written of each, and the weights of the losses of label and level. With `own`
    the confidence to state is the tempered probability that the learning model itself gives the label at that step, not
    its teacher's."""

    name: str
    share: float = 1.0
    epochs: float = 1.0
    batch: int = 64
    learning_rate: float = 0.003
    splits: tuple[str, ...] = SPLITS
    spread: float = 0.05
    label_weight: float = 1.0
    level_weight: float = 1.0
    others: int = 0
    own: bool = False


class Bench:
    """The pictures, and what the stage-1 model believes about them; asked once and kept in `out`."""

    def __init__(self, adapter: Path, out: Path, seed: int) -> None:
        self.adapter, self.out, self.seed = adapter, out, seed
        out.mkdir(parents=True, exist_ok=True)
        wanted = {*SPLITS, "calibrate"}
        self.samples = [sample for sample in samples_in(["kaomoji", "emoji"]) if sample.split in wanted]
        self.forward = Forward(self.samples, out / "features.pt")
        self.template = load_template("label-confidence")
        kept = out / "beliefs.npz"
        if not kept.exists():
            teacher = self.forward.model(adapter, trainable=False)
            beliefs = self.forward.beliefs(teacher, self.samples, load_template("label"))
            np.savez(kept, **{str(n): belief for n, belief in enumerate(beliefs)})
        stored = np.load(kept)
        beliefs = [stored[str(n)] for n in range(len(self.samples))]
        fitting = [n for n, sample in enumerate(self.samples) if sample.split == "calibrate"]
        self.temperatures = temperatures_of([self.samples[n] for n in fitting], [beliefs[n] for n in fitting])
        self.believed = scaled_beliefs(self.samples, beliefs, self.temperatures)

    def numbers(self, splits: Sequence[str], task: str | None = None) -> list[int]:
        """The rows of these splits, of one task where it is named."""
        return [n for n, s in enumerate(self.samples) if s.split in splits and task in (None, s.task)]

    def pool(self, variant: Variant, rng: np.random.Generator) -> list[int]:
        """The rows that a variant learns from."""
        rows: list[int] = rng.permutation(self.numbers(variant.splits)).tolist()
        return rows[: int(variant.share * len(rows))]

    def train(self, variant: Variant) -> tuple[Any, list[float]]:
        """The trained model, and the loss of the levels at each step."""
        torch.manual_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        pool = self.pool(variant, rng)
        model = self.forward.model(self.adapter, trainable=True)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=variant.learning_rate, weight_decay=0.0)
        steps = round(variant.epochs * -(-len(pool) // variant.batch))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
        order, losses = list[int](), list[float]()
        for _ in range(steps):
            while len(order) < variant.batch:
                order += rng.permutation(pool).tolist()
            part, order = order[: variant.batch], order[variant.batch :]
            label, level, other = self.losses(model, part, variant, rng)
            optimizer.zero_grad()
            (variant.label_weight * label + variant.level_weight * level + other).backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(float(level.detach()))
            if len(losses) % max(1, steps // 8) == 0:
                found = f"label {float(label.detach()):.3f}, level {np.mean(losses[-9:]):.3f}"
                print(f"  {variant.name}: step {len(losses)}/{steps}, {found}", flush=True)
        return model.eval(), losses

    def losses(
        self, model: Any, part: Sequence[int], variant: Variant, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean loss of labels, levels and all other tokens of the answers to these rows."""
        samples, of = [self.samples[n] for n in part], self.believed
        beliefs = Beliefs([of.beliefs[n] for n in part], [of.stated[n] for n in part], of.confidences[list(part)])
        first = distilled_examples(samples, beliefs.beliefs, beliefs.confidences, self.template, variant.spread)
        examples = [*first, *self.others(part, variant, rng)]
        asked = [example.sample for example in examples]
        scored = self.forward.scored(model, asked, self.template, [example.completion for example in examples])
        targets = torch.zeros_like(scored.labels)
        for n, belief in enumerate(beliefs.beliefs):
            targets[n, : len(belief)] = torch.tensor(belief)
        levels = torch.tensor([example.level_target for example in examples])
        if variant.own:
            rows = zip(samples, scored.labels.detach().double(), strict=True)
            now = [row[: len(sample.candidates)].softmax(-1).numpy() for sample, row in rows]
            stated = scaled_beliefs(samples, now, self.temperatures).stated
            chosen = targets.argmax(-1).tolist()
            levels = torch.tensor(
                [spread_over_levels(float(row[k]), variant.spread) for row, k in zip(stated, chosen, strict=True)]
            )
        return (
            -(targets * scored.labels).sum(-1).sum() / len(part),
            -(levels * scored.levels).sum(-1).mean(),
            scored.other[: len(part)].mean(),
        )

    def others(self, part: Sequence[int], variant: Variant, rng: np.random.Generator) -> list[TrainingExample]:
        """Answers of other labels than the likeliest, drawn by their probability, each with its own confidence."""
        found = []
        for n in part:
            sample, stated = self.samples[n], self.believed.stated[n]
            shares = np.where(np.arange(len(stated)) == stated.argmax(), 0.0, stated + 1e-3)
            count = min(variant.others, len(stated) - 1)
            for k in rng.choice(len(stated), count, replace=False, p=shares / shares.sum()).tolist():
                confidence = float(stated[k])
                text = self.template.write(label=sample.candidates[k], confidence=nearest_level(confidence))
                target = spread_over_levels(confidence, variant.spread)
                found.append(TrainingExample(sample, text, level_target=target))
        return found

    def judged(self, model: Any, rows: Sequence[int]) -> dict[str, Any]:
        """How the levels follow the teacher's tempered probability of the stated label, and, of labelled rows, the
        Brier scores of what is stated and of the model's own tempered probability."""
        samples = [self.samples[n] for n in rows]
        own = self.forward.beliefs(model, samples, self.template)
        answers = [int(belief.argmax()) for belief in own]
        labels = [sample.candidates[a] for sample, a in zip(samples, answers, strict=True)]
        levels = self.forward.levels(model, samples, labels, self.template)
        mean, stated = levels @ np.array(LEVELS), np.array(LEVELS)[levels.argmax(1)]
        taught = np.array([self.believed.stated[n][a] for n, a in zip(rows, answers, strict=True)])
        raw = [self.believed.beliefs[n][a] for n, a in zip(rows, answers, strict=True)]
        figures: dict[str, Any] = {
            "n": len(rows),
            "as taught": np.mean(
                [a == int(self.believed.stated[n].argmax()) for n, a in zip(rows, answers, strict=True)]
            ),
            "correlation": np.corrcoef(mean, taught)[0, 1],
            "squared distance": ((mean - taught) ** 2).mean(),
            "bias": (mean - taught).mean(),
            "own correlation": np.corrcoef([belief.max() for belief in own], raw)[0, 1],
        }
        if samples[0].label is None:
            return figures
        right = np.array([label == sample.label for label, sample in zip(labels, samples, strict=True)])
        scaled = scaled_beliefs(samples, own, temperatures_of(samples, own)).confidences
        cluster = np.unique([sample.cluster for sample in samples], return_inverse=True)[1]
        costs = {name: (c - right) ** 2 for name, c in (("stated", stated), ("mean", mean), ("own", scaled))}
        return figures | {
            "accuracy": right.mean(),
            **{name: cost.mean() for name, cost in costs.items()},
            "stated above own": difference(costs["stated"], costs["own"], cluster),
            "AUROC": float(auroc(count_rows(stated, right))) - float(auroc(count_rows(scaled, right))),
        }


def bounds(confidences: Floats, spread: float) -> tuple[float, float]:
    """The least level loss that these confidences [n] allow, and that of a model that states the same of each."""
    targets = np.array([spread_over_levels(confidence, spread) for confidence in confidences.tolist()])
    return float(entr(targets).sum(-1).mean()), float(entr(targets.mean(0)).sum())


def cosine(step: int, steps: int) -> float:
    """The share of the learning rate at a step: 5 % of warm-up, then half a cosine."""
    warm = max(1, int(0.05 * steps))
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + float(np.cos(np.pi * max(0, step - warm) / max(1, steps - warm))))


def result_of(bench: Bench, variant: Variant) -> dict[str, Any]:
    """Train and judge one variant; its line of the results."""
    began = time.process_time()
    model, losses = bench.train(variant)
    seconds = time.process_time() - began
    fresh = bench.numbers(["calibrate"], "kaomoji")
    learned = set(bench.pool(variant, np.random.default_rng(bench.seed)))
    taught = [n for n in bench.numbers(["unlabelled"], "kaomoji") if n in learned][:TAUGHT]
    figures = {"fresh": bench.judged(model, fresh), "taught": bench.judged(model, taught)}
    loss = float(np.mean(losses[-max(1, len(losses) // 20) :]))
    return {
        "variant": asdict(variant),
        "steps": len(losses),
        "seconds": seconds,
        "loss": loss,
    } | figures


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown."""
    columns = [
        "variant", "steps", "CPU s", "level loss at the end", "levels with teacher, taught", "fresh",
        "own probability with teacher, taught", "fresh", "accuracy", "own, tempered", "mean level", "stated",
        "stated − own", "AUROC, stated − own",
    ]  # fmt: skip
    lines = [columns, ["---"] * len(columns)]
    for result in results:
        fresh, taught = result["fresh"], result["taught"]
        value, low, high = fresh["stated above own"]
        lines.append([
            result["variant"]["name"], str(result["steps"]), f"{result['seconds']:.0f}", f"{result['loss']:.3f}",
            *(f"{rows[key]:.3f}" for key in ("correlation", "own correlation") for rows in (taught, fresh)),
            f"{fresh['accuracy']:.3f}",
            *(f"{fresh[name]:.4f}" for name in ("own", "mean", "stated")),
            f"{value:+.4f} [{low:+.4f}, {high:+.4f}]", f"{fresh['AUROC']:+.3f}",
        ])  # fmt: skip
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path, help="stage 1's")
    parser.add_argument("variants", nargs="*", help="JSON objects")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_intermixed_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    kept = chosen.out / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {result["variant"]["name"] for result in results}
    wanted = [msgspec.json.decode(text, type=Variant) for text in chosen.variants]
    missing = [variant for variant in wanted if variant.name not in done]
    bench = Bench(chosen.adapter, chosen.out, chosen.seed) if missing else None
    for variant in missing:
        assert bench is not None
        least, most = bounds(bench.believed.confidences[bench.numbers(variant.splits)], variant.spread)
        print(f"{variant.name}: level loss between {least:.2f}, all learned, and {most:.2f}, the same of every picture")
        results.append(result_of(bench, variant))
        with kept.open("a") as file:
            file.write(json.dumps(results[-1], default=float) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
