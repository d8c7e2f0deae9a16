"""One table: the tiny language model after its stages, post-hoc maps, and the baselines, on the same test rows.

Not a training of the language model: its predictions are read from a finished `emocaliber run`. The baselines train on
files of views of the same splits (`emocaliber features --suite eval/suites/tiny.yaml --out out/baselines/features`).
Writes scorecard.json, scorecard.md and report.html under --report, and the table, with AmbER²'s ablations on the emoji's
votes, to --out.

    python eval/benchmarks/baselines_tiny.py --run out/demo --views out/baselines/features --out eval/results/baselines-tiny.md
"""  # noqa: E501

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import torch

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Network
from emocaliber.baselines.evidential import Edl, Etmc, Tmc
from emocaliber.baselines.experiment import fit
from emocaliber.baselines.recipe import BaselineRecipe
from emocaliber.baselines.rows import predictions
from emocaliber.baselines.softmax import Softmax
from emocaliber.baselines.ter import Ter
from emocaliber.baselines.training import Training
from emocaliber.baselines.view_files import ViewSet, read_views
from emocaliber.evaluation.build import build_scorecard
from emocaliber.evaluation.scorecard import MethodScores, Scorecard
from emocaliber.evaluation.suite import load_suite
from emocaliber.pipeline.judging import ISOTONIC, PROBABILITY, STAGE_2, STATED, TEMPERATURE, Rows, read_rows
from emocaliber.predictions import Prediction
from emocaliber.scorecard_tables import difference, figure
from emocaliber.scoring import write_scorecard

SEEDS = (0, 1, 2)
SUITE = Path(__file__).parents[1] / "suites" / "tiny.yaml"
LANGUAGE = (STAGE_2, STATED, PROBABILITY, TEMPERATURE, ISOTONIC)
NETWORKS: dict[str, Network] = {
    "softmax": Softmax(),
    "edl": Edl(),
    "tmc": Tmc(),
    "etmc": Etmc(),
    "ter": Ter(),
    "amber2": Amber2(),
}
JUDGED = ("accuracy", "ece", "brier", "auroc", "aurc")
RATED = ("agreement_ece", "agreement_brier")
ABLATIONS: dict[str, Network] = {
    "cross-entropy on the majority": Amber2(target="majority", expert_weight=0.0, guidance_weight=0.0),
    "cross-entropy on the shares": Amber2(expert_weight=0.0, guidance_weight=0.0),
    "and experts": Amber2(guidance_weight=0.0),
    "and fixed guidance": Amber2(guidance="fixed"),
    "and adaptive guidance (amber2)": Amber2(),
}
DISTRIBUTIONAL = ("bhattacharyya", "r2", "jensen_shannon", "agreement_ece", "accuracy")

HEAD = """# Baselines on the tiny suites, beside the language model

{today}, 2 CPU cores, torch {torch}. The baselines see what the frozen tiny base sees (`emocaliber features`: the vision
tower's pooled tokens, those of the middle of the picture, the states of its own words about it), train on the split
`train`, stop and are tempered on `calibrate`; the language model was taught by the run `{run}`. 95 % intervals by
cluster (near-duplicate kaomoji; emoji). ECE: 10 bins. Trusted F1: threshold of greatest F1 on the calibration rows;
floor 2A/(1+A). Written by `eval/benchmarks/baselines_tiny.py`.
"""


def rows_of(name: str, network: Network, found: ViewSet, seed: int = 0) -> tuple[list[Prediction], list[Prediction]]:
    """Test and calibration rows of one baseline."""
    estimator, held = fit(BaselineRecipe(network, msgspec.structs.replace(Training(), seed=seed)), found)
    print(f"{name} on {found.task}, seed {seed}: done", flush=True)
    return predictions(estimator, found.splits["test"], found.task, name), predictions(
        estimator, held, found.task, name
    )


def compared(run: Path, views: Sequence[ViewSet]) -> Scorecard:
    """The scorecard of the language model's read-outs and of every baseline, on the language model's test rows."""
    test, held = (_language(run, split) for split in ("test", "calibrate"))
    for name, network in NETWORKS.items():
        made = [rows_of(name, network, found) for found in views]
        test[name] = [row for one, _ in made for row in one]
        held[name] = [row for _, one in made for row in one]
    return build_scorecard(test, calibration=held, suite=load_suite(SUITE), subject=STATED)


def _language(run: Path, split: str) -> Rows:
    found = read_rows(run / "predictions", split)
    return {name: found[name] for name in LANGUAGE}


def main_table(card: Scorecard, task: str, group: str, columns: Sequence[str]) -> str:
    """Every method on one task's group, floors included."""
    found = [(method, method.find("group", group)) for method in card.methods]
    lines = ["| method | " + " | ".join((*columns, "trusted F1", "floor")) + " |", "|" + "---|" * (len(columns) + 3)]
    for method, scores in found:
        trusted = next((one for one in scores.trusted if one.rule == "best F1"), None)
        cells = [*(figure(scores.headline.get(column)) for column in columns)]
        cells += [figure(trusted.f1), figure(trusted.floor)] if trusted else ["–", "–"]
        name = f"*{method.name}*" if method.role == "floor" else method.name
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return f"## {task}, {group} (n = {found[0][1].n:,})\n\n" + "\n".join(lines)


def ablated(found: ViewSet) -> str:
    """AmbER² and what it adds, seeds pooled, and its gain over cross-entropy by how ambiguous a picture is."""
    rows = {
        name: [
            replace(row, id=f"{row.id}/{seed}")
            for seed in SEEDS
            for row in rows_of(name, network, found, seed)[0]
        ]
        for name, network in ABLATIONS.items()
    }  # fmt: skip
    base, *_, ours = ABLATIONS
    card = build_scorecard(rows, subject=ours)
    lines = ["| | " + " | ".join(DISTRIBUTIONAL) + " |", "|" + "---|" * (len(DISTRIBUTIONAL) + 1)]
    for name in ABLATIONS:
        headline = card.method(name).find("all").headline
        lines.append(f"| {name} | " + " | ".join(figure(headline.get(column)) for column in DISTRIBUTIONAL) + " |")
    gain = next(one for one in card.comparisons if {one.first, one.second} == {base, ours} and one.name == "all")
    cells = " | ".join(difference(gain.headline.get(column)) for column in DISTRIBUTIONAL)
    lines.append(f"| {gain.first} − {gain.second} | {cells} |")
    return "\n".join(lines) + "\n\n" + by_stratum(card.method(base), card.method(ours))


def by_stratum(base: MethodScores, ours: MethodScores) -> str:
    """Both methods in each ambiguity stratum."""
    strata = [scores.name for scores in ours.scores if scores.kind == "stratum"]
    shown = DISTRIBUTIONAL[:4]
    lines = ["| stratum | method | n | " + " | ".join(shown) + " |", "|" + "---|" * (len(shown) + 3)]
    for stratum in strata:
        for method in (base, ours):
            scores = method.find("stratum", stratum)
            cells = " | ".join(figure(scores.headline.get(column)) for column in shown)
            lines.append(f"| {stratum} | {method.name} | {scores.n} | {cells} |")
    return "\n".join(lines)


def _tables(card: Scorecard, groups: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        main_table(card, task, group, JUDGED if task == "kaomoji" else (*JUDGED, *RATED))
        for task, own in groups.items()
        for group in own
    ]


def main() -> None:
    """Train the baselines, judge all, write the report and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="the folder of a finished `emocaliber run recipes/tiny`"
    )
    parser.add_argument("--views", type=Path, required=True, help="the folder that `emocaliber features` wrote")
    parser.add_argument("--report", type=Path, default=Path("out/baselines/report"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {task: read_views(arguments.views / f"{task}.npz") for task in ("kaomoji", "emoji")}
    card = compared(arguments.run, list(found.values()))
    write_scorecard(card, arguments.report)
    groups = {"kaomoji": ["trained styles", "held-out style"], "emoji": ["new emoji", "new emoji, held-out style"]}
    about = (
        "## AmbER² on the emoji's votes: what each part adds\n\nSeeds 0, 1, 2 pooled, the test rows of both groups,"
        " intervals by emoji."
    )
    head = HEAD.format(today=date.today(), torch=torch.__version__, run=arguments.run)
    arguments.out.write_text("\n\n".join([head, *_tables(card, groups), about, ablated(found["emoji"])]) + "\n")


if __name__ == "__main__":
    main()
