"""Every method of stage 3 from the same stage-2 model, side by side: on schematic faces, whose truth is known, on
kaomoji and on emoji.

It does not train the best possible model: each method gets a minute or two on the same machine. Finished runs are only
read, so that an interrupted command resumes where it stopped. The table shows all finished runs.

    python eval/benchmarks/calibrators.py --seeds 0 1 2 3 4 --out eval/results/calibrators.md
    python eval/benchmarks/calibrators.py --seeds 0 --worlds faces --methods "proper, mean-brier" DPO --out /tmp/one.md
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from calibrators_table import render
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

from emocaliber.cli import main as emocaliber
from emocaliber.core.predictions import write_predictions
from emocaliber.core.prompting import load_template
from emocaliber.generation.readouts import rows_of
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import model_folder
from emocaliber.runs.judging import READ_OUTS
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.resume import run_step, samples_of
from emocaliber.runs.train import train
from emocaliber.stages.recipe import Recipe
from eval.worlds.faces import write_faces

RECIPES = Path(__file__).parents[2] / "recipes"
WORLDS = ("faces", "tiny")
FACES = {"train": 10_000, "unlabelled": 4_000, "calibrate": 2_000, "test": 5_000}
SHIFTED = 500  # test faces of each shift
DRAWS = 4

ANY = "gain_alpha=0.5"  # a method is shown where it is better at all; as shipped, stage 3 must be so beyond doubt
STEADY = ("tiny/3-calibrate.yaml", ANY, "learning_rate=0.0005", "save_steps=24")
PROPER = (*STEADY, "splits=[calibrate]", "num_train_epochs=4")
UNLABELLED_TOO = (*STEADY, "splits=[calibrate, unlabelled]", "num_train_epochs=1")
GRPO = ("tiny/3-calibrate-grpo.yaml", ANY, "max_steps=30", "learning_rate=2e-4")
RLOO = ("tiny/3-calibrate-rloo.yaml", ANY, "max_steps=30", "learning_rate=2e-4")
DPO = ("tiny/3-calibrate-dpo.yaml", ANY, "max_steps=24", "save_steps=8", "learning_rate=1e-4", "beta=0.3")
RATERS = ("faces/2-verbalize.yaml", "target=votes", "splits=[train]")
METHODS: dict[str, tuple[str, ...]] = {
    "proper, mean-brier, unlabelled too": UNLABELLED_TOO,
    "proper, mean-brier": PROPER,
    "GRPO, brier-1": GRPO,
    "GRPO, EmoCaliber's reward": (*GRPO, "reward=emocaliber"),
    "GRPO, brier-1, divided by deviation": (*GRPO, "scale_rewards=group"),
    "DPO": DPO,
    "RLOO, brier-1": RLOO,
    "proper, mean-log": (*PROPER, "objective=mean-log"),
    "proper, mean-spherical": (*PROPER, "objective=mean-spherical"),
    "GRPO, brier-1, by segment": (*GRPO, "advantages=segments"),
    "KTO": (*DPO, "method=kto"),
    "stage 2 from rater shares": RATERS,
    "proper, mean-brier, unlabelled too, after rater shares": UNLABELLED_TOO,
    "stage 2, after a stage 1 from rater shares": ("faces/2-verbalize.yaml",),
    "proper, mean-brier, unlabelled too, after both": UNLABELLED_TOO,
    "stage 2, after shares and corrupted copies": ("faces/2-verbalize.yaml",),
    "proper, mean-brier, unlabelled too, after all": UNLABELLED_TOO,
}
"""Recipe and overrides. The ones that say most come first: a run that is cut short has them."""
FROM_SHARES, FROM_COPIES = "1-label-from-rater-shares", "1-label-from-shares-and-copies"
STARTS = {
    "stage 2 from rater shares": "1-label",
    "proper, mean-brier, unlabelled too, after rater shares": "methods/stage-2-from-rater-shares/training",
    "stage 2, after a stage 1 from rater shares": FROM_SHARES,
    "proper, mean-brier, unlabelled too, after both": "methods/stage-2-after-a-stage-1-from-rater-shares/training",
    "stage 2, after shares and corrupted copies": FROM_COPIES,
    "proper, mean-brier, unlabelled too, after all": "methods/stage-2-after-shares-and-corrupted-copies/training",
}
"""The methods that do not start from stage 2, and where: for rows with votes, so for faces alone."""


def stage_2(world: str, seed: int, out: Path, finished: Path | None) -> tuple[Path, tuple[str, ...]]:
    """The adapter that every method starts from, trained if missing, and the data. `finished` are runs of `emocaliber
    run recipes/tiny --seed N` whose stage 2 is reused."""
    data = ("kaomoji", "emoji") if world == "tiny" else (str(out / "faces.parquet"),)
    if world == "tiny" and finished is not None and (finished / str(seed) / "2-verbalize" / "done.json").exists():
        return finished / str(seed) / "2-verbalize" / "adapter", data
    if world == "faces" and not Path(data[0]).exists():
        write_faces(Path(data[0]), FACES, seed, SHIFTED)
    if (out / "2-verbalize" / "done.json").exists():  # also where the recipe has another key since
        return out / "2-verbalize" / "adapter", data
    adapter = None
    for name in ("1-label", "2-verbalize"):
        train(recipe(f"{world}/{name}.yaml", data, seed), adapter, out / name)
        adapter = out / name / "adapter"
    assert adapter is not None
    return adapter, data


def recipe(file: str, data: Sequence[str], seed: int, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe with other data and another seed."""
    return read_recipe(RECIPES / file, [f"data=[{', '.join(data)}]", f"seed={seed}", *overrides])


def drawn_pairs(data: Sequence[str], adapter: Path, out: Path) -> Path:
    """Preference pairs of answers sampled from the stage-2 model on the calibration rows, and their cost."""

    def work(folder: Path) -> dict[str, Any]:
        with counted() as cost:
            for n, name in enumerate(data):
                draws = ["--samples", str(DRAWS), "--temperature", "1", "--batch-size", "96", "--max-new-tokens", "12"]
                batch = [
                    "predict",
                    name,
                    "--split",
                    "calibrate",
                    "--model",
                    "tiny",
                    "--adapter",
                    str(adapter),
                ]
                if emocaliber([*batch, *draws, "--out", str(folder / f"draws-{n}")]):
                    raise SystemExit(f"drawing answers about {name} failed")
            folders = [str(folder / f"draws-{n}") for n in range(len(data))]
            if emocaliber(["data", "pairs", *folders, "--out", str(folder / "pairs.jsonl")]):
                raise SystemExit("making pairs failed")
        return dict(cost)

    run_step(out, {"adapter": str(adapter), "draws": DRAWS}, work)
    return out / "pairs.jsonl"


def answered(adapter: Path, data: Sequence[str], splits: Sequence[str], out: Path) -> None:
    """Every read-out of an adapter on these splits, as prediction files."""

    def work(folder: Path) -> dict[str, Any]:
        model = model_folder(recipe("tiny/3-calibrate.yaml", data, 0).model)
        engine = TransformersEngine(model, adapter=adapter, batch_size=96, max_new_tokens=12)
        for split in splits:
            samples, template = samples_of(data, [split]), load_template("label-confidence")
            answers = zip(samples, respond(samples, engine, template), strict=True)
            rows = [rows_of(sample, answer, template, method=out.name) for sample, answer in answers]
            for name, source in READ_OUTS.items():
                write_predictions(folder / f"{name}.{split}.jsonl", (row[source] for row in rows))
        return {}

    run_step(out, {"adapter": str(adapter), "data": list(data)}, work)


def calibrated(name: str, data: Sequence[str], seed: int, adapter: Path, out: Path) -> None:
    """Train one method, and predict the test rows with the result."""
    file, *overrides = METHODS[name]
    folder = out / "methods" / slug(name)
    extra: dict[str, float] = {}
    if "dpo" in file:
        pairs = drawn_pairs(data, adapter, out / "pairs")
        extra = json.loads((out / "pairs" / "done.json").read_text())["result"]
        overrides.append(f"pairs={pairs}")
    begun = out / STARTS[name] / "adapter" if name in STARTS else adapter
    learned = (*data, *corrupted(data, out)) if "copies" in STARTS.get(name, "") else data
    if begun.parent.name in (FROM_SHARES, FROM_COPIES):
        train(recipe("faces/1-label.yaml", learned, seed, ["target=votes"]), None, begun.parent)
    cost = folder / "cost.json"
    if not cost.exists():  # what was cut short is begun anew: seconds and passes are those of one whole training
        shutil.rmtree(folder / "training", ignore_errors=True)
        with warnings.catch_warnings(), counted() as spent:
            warnings.simplefilter("default")
            train(recipe(file, learned, seed, overrides), begun, folder / "training")
        cost.write_text(json.dumps({key: value + extra.get(key, 0) for key, value in spent.items()}))
    answered(folder / "training" / "adapter", data, ["test"], folder / "rows")


def corrupted(data: Sequence[str], out: Path) -> list[str]:
    """For each data file, a file of copies with corrupted pictures."""
    files = [out / f"corrupted-{n}.parquet" for n in range(len(data))]
    for file, source in zip(files, data, strict=True):
        if not file.exists() and emocaliber(["data", "corrupt", source, "--out", str(file)]):
            raise SystemExit(f"corrupting {source} failed")
    return [str(file) for file in files]


def slug(name: str) -> str:
    """A name as a folder name."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.replace("'s", "").replace(", ", "-"))


@contextmanager
def counted() -> Iterator[dict[str, float]]:
    """Counts forward passes, one per row and model call, so one per generated token; and CPU seconds, which other
    processes do not inflate."""
    cost: dict[str, float] = {"passes": 0}
    began, plain = sum(os.times()[:4]), Qwen2_5_VLModel.forward

    def forward(self: Any, input_ids: torch.Tensor | None = None, *arguments: Any, **named: Any) -> Any:
        inputs = input_ids if input_ids is not None else named["inputs_embeds"]
        cost["passes"] += len(inputs)
        return plain(self, input_ids, *arguments, **named)

    Qwen2_5_VLModel.forward = forward  # type: ignore[method-assign]
    try:
        yield cost
    finally:
        Qwen2_5_VLModel.forward = plain  # type: ignore[method-assign]
        cost["cpu_seconds"] = sum(os.times()[:4]) - began


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="*", type=int, default=[], help="to run; the table has all that are finished")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--runs", type=Path, default=Path("out/calibrators"), help="where runs are kept")
    parser.add_argument("--tiny-runs", type=Path, help="folder of finished `emocaliber run recipes/tiny`, one a seed")
    parser.add_argument("--out", type=Path, help="the table; without it, nothing is written but the runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in arguments.seeds:
        for world in arguments.worlds:
            out = arguments.runs / world / str(seed)
            adapter, data = stage_2(world, seed, out, arguments.tiny_runs)
            answered(adapter, data, ["calibrate", "test"], out / "stage-2")
            for name in arguments.methods:
                if world == "faces" or name not in STARTS:
                    calibrated(name, data, seed, adapter, out)
    if arguments.out is not None:
        render(arguments.runs, {slug(name): name for name in METHODS}, arguments.out)


if __name__ == "__main__":
    main()
