"""The pipeline of recipes/real for one seed, on parts that real_parts cut: stages 1 to 3, and what each says of faces
that no step was taught. What is there already is not done again.

Stage 1 learns the raters' shares; stage 2 what a map of the label's distribution and the hidden state says of faces
that stage 1 never saw (target: signals); stage 3, the proper loss, stays only where it gains on rows held out. Rows
go to OUT/rows: `STEP-PART.jsonl`, where STEP is the stage and PART the file of real_parts.

    python -m eval.benchmarks.real_pipeline --parts out/parts --base out/photo-base-warm --seed 0 --out out/pipeline-0
    python -m eval.benchmarks.real_judge out/pipeline-*/rows/3-test.jsonl --fresh out/pipeline-*/rows/3-fresh.jsonl
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

STEPS = {"label": 200, "verbalize": 500}
VERBALIZE_RATE = 1e-3  # of stage 2; its recipe's own left it undertaught on these faces
SOME = 500
"""Test rows that the stages before the last are read on."""


def run(arguments: Sequence[str], there: Path) -> None:
    """A Python module with these arguments, unless what it makes is there."""
    if there.exists():
        return
    started = time.perf_counter()
    print(f"{there}: {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", *arguments], check=True)
    print(f"{there}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, required=True, help="folder that real_parts wrote")
    parser.add_argument("--base", type=Path, required=True, help="the base, warmed on taught.parquet")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--label-steps", type=int, default=STEPS["label"], help="default: 200")
    parser.add_argument("--verbalize-steps", type=int, default=STEPS["verbalize"], help="default: 500")
    parser.add_argument("--last", type=int, choices=(2, 3), default=3, help="the last stage (default: 3)")
    parser.add_argument("--no-reading", action="store_true", help="only train")
    parser.add_argument("--out", type=Path, required=True, help="folder of this seed")
    chosen, overrides = parser.parse_known_args()
    out, parts, seed = chosen.out, chosen.parts, f"seed={chosen.seed}"
    common = [seed, "dataloader_num_workers=0", *overrides]
    adapters = {step: out / str(step) / "adapter" for step in (1, 2, 3)}
    run(
        ["emocaliber", "train", "recipes/real/1-label.yaml", f"model={chosen.base}", f"data=[{parts}/taught.parquet]",
         f"max_steps={chosen.label_steps}", *common, "--out", str(out / "1")],
        adapters[1],
    )  # fmt: skip

    def bench(action: str, part: str, adapter: Path, to: Path, *more: str) -> None:
        asked = ["--data", f"{parts}/{part}.parquet", "--base", str(chosen.base), "--adapter", str(adapter)]
        there = to if action == "read" else to / "adapter"
        run(["eval.benchmarks.real", action, *asked, "--out", str(to), *more, *common], there)

    def read(step: int, part: str, *more: str) -> None:
        split = "calibrate" if part == "fresh" else "test"
        (out / "rows").mkdir(exist_ok=True)
        bench("read", part, adapters[step], out / "rows" / f"{step}-{part}.jsonl", "--split", split, *more)

    bench("verbalize", "asked", adapters[1], out / "2", "target=signals", "signals=[hidden]", "splits=[unlabelled]",
          f"max_steps={chosen.verbalize_steps}", f"learning_rate={VERBALIZE_RATE}")  # fmt: skip
    if chosen.last == 3:
        bench("calibrate", "calibrate", adapters[2], out / "3")
    if chosen.no_reading:
        return
    for part in ("test", "fresh", "shifted"):
        read(chosen.last, part)
    for step in range(1, chosen.last):
        read(step, "test", "--rows", str(SOME), *["--template", "label"] * (step == 1))


if __name__ == "__main__":
    main()
