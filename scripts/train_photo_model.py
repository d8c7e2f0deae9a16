"""Train a model that has seen photographs of faces, from registry packages and FER+, by one command; it takes hours.

FER-2013's pictures are for research and are not to be redistributed, which is why no such model comes with emocaliber.
What is made stays on your machine; it answers `predict`, `ask` and `chat` where EMOCALIBER_MODEL names its folder. The
command resumes where it was stopped.

    pip install -e '.[train,photos]'
    unzip -q ferplus.zip -d out/ferplus            # fer2013new.csv beside FER2013Train, FER2013Valid, FER2013Test
    python scripts/train_photo_model.py out/ferplus --out out/photo-model
    export EMOCALIBER_MODEL=out/photo-model/pipeline/3/adapter
    emocaliber ask face.jpg
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ADAPTER = Path("pipeline", "3", "adapter")
SHORT = ("avx512_bf16", "amx_bf16")
"""Flags of processors that multiply in bfloat16 faster than in float32."""


def computes_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether bfloat16 is the faster type on this processor; False where that cannot be told."""
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return any(flag in flags for flag in SHORT)


def steps(faces: Path, out: Path, *, bf16: bool, seed: int = 0) -> list[tuple[Path, list[str]]]:
    """Each step's result, and the arguments of the Python process that makes it."""
    base, data, parts, warm, pipeline = (out / name for name in ("base", "faces.parquet", "parts", "warm", "pipeline"))
    return [
        (base, ["scripts/build_photo_base.py", "--out", f"{base}"]),
        (data, ["-m", "emocaliber", "data", "convert", f"{faces}", "--drop-problems", "--two-panels", "--out",
                f"{data}"]),
        (parts / "shifted.parquet", ["-m", "eval.benchmarks.real_parts", f"{data}", "--out", f"{parts}"]),
        (warm, ["scripts/warm_photo_base.py", "--base", f"{base}", "--data", f"{parts / 'taught.parquet'}", "--out",
                f"{warm}", *["--bf16"] * bf16]),
        (out / ADAPTER, ["-m", "eval.benchmarks.real_pipeline", "--parts", f"{parts}", "--base", f"{warm}", "--out",
                             f"{pipeline}", "--seed", f"{seed}", "--no-reading", f"bf16={str(bf16).lower()}"]),
    ]  # fmt: skip


def run(arguments: Sequence[str]) -> None:
    """A Python process; stops this one where it fails."""
    print(f"python {' '.join(arguments)}", flush=True)
    if code := subprocess.run([sys.executable, *arguments], check=False).returncode:
        raise SystemExit(code)


def main() -> None:
    """Take every step whose result is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="folder of FER+, unpacked")
    parser.add_argument(
        "--out", type=Path, required=True, help=f"folder of all that is made; the result is OUT/{ADAPTER}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the three stages (default: 0)")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for result, arguments in steps(chosen.faces, chosen.out, bf16=computes_bfloat16(), seed=chosen.seed):
        if not result.exists():
            run(arguments)
    print(f"For `emocaliber predict`, `ask` and `chat`: export EMOCALIBER_MODEL={chosen.out / ADAPTER}")


if __name__ == "__main__":
    main()
