"""The pipeline of recipes/real for one seed, on the parts that real_parts cut: stages 1 to 3, and each stage's answers
about faces that no stage was trained on. Finished steps are not repeated.

Stage 1 learns the raters' vote shares. Stage 2 learns the confidences of a map of the label distribution and the hidden
state, on faces that stage 1 never saw (target: signals). Stage 3, the proper loss, is kept only if it gains on held-out
rows. Rows go to OUT/rows: `STEP-PART.jsonl`, where STEP is the stage and PART the file of real_parts.

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
VERBALIZE_LEARNING_RATE = 1e-3  # the recipe's own leaves stage 2 under-trained on these faces
EARLY_STAGE_ROWS = 500
"""The number of test rows that the stages before the last one answer."""


def run(arguments: Sequence[str], output: Path) -> None:
    """Run a Python module with these arguments, unless its output exists."""
    if output.exists():
        return
    started = time.perf_counter()
    print(f"{output}: {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", *arguments], check=True)
    print(f"{output}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    """Run the stages that are not finished, then let them answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, required=True, help="folder that real_parts wrote")
    parser.add_argument("--base", type=Path, required=True, help="the base, warmed on taught.parquet")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--label-steps", type=int, default=STEPS["label"], help="default: 200")
    parser.add_argument("--verbalize-steps", type=int, default=STEPS["verbalize"], help="default: 500")
    parser.add_argument("--last", type=int, choices=(2, 3), default=3, help="the last stage (default: 3)")
    parser.add_argument("--no-reading", action="store_true", help="only train; do not let the stages answer")
    parser.add_argument("--out", type=Path, required=True, help="folder of this seed")
    arguments, overrides = parser.parse_known_args()
    out, parts, seed = arguments.out, arguments.parts, f"seed={arguments.seed}"
    common = [seed, "dataloader_num_workers=0", *overrides]
    adapters = {stage: out / str(stage) / "adapter" for stage in (1, 2, 3)}
    run(
        ["emocaliber", "train", "recipes/real/1-label.yaml", f"model={arguments.base}",
         f"data=[{parts}/taught.parquet]", f"max_steps={arguments.label_steps}", *common, "--out", str(out / "1")],
        adapters[1],
    )  # fmt: skip

    def run_real(action: str, part: str, adapter: Path, target: Path, *options: str) -> None:
        inputs = ["--data", f"{parts}/{part}.parquet", "--base", str(arguments.base), "--adapter", str(adapter)]
        output = target if action == "read" else target / "adapter"
        run(["eval.benchmarks.real", action, *inputs, "--out", str(target), *options, *common], output)

    def read(stage: int, part: str, *options: str) -> None:
        split = "calibrate" if part == "fresh" else "test"
        (out / "rows").mkdir(exist_ok=True)
        run_real("read", part, adapters[stage], out / "rows" / f"{stage}-{part}.jsonl", "--split", split, *options)

    run_real("verbalize", "asked", adapters[1], out / "2", "target=signals", "signals=[hidden]", "splits=[unlabelled]",
          f"max_steps={arguments.verbalize_steps}", f"learning_rate={VERBALIZE_LEARNING_RATE}")  # fmt: skip
    if arguments.last == 3:
        run_real("calibrate", "calibrate", adapters[2], out / "3")
    if arguments.no_reading:
        return
    for part in ("test", "fresh", "shifted"):
        read(arguments.last, part)
    for stage in range(1, arguments.last):
        read(stage, "test", "--rows", str(EARLY_STAGE_ROWS), *["--template", "label"] * (stage == 1))


if __name__ == "__main__":
    main()
