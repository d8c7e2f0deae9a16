"""Put the adapter of a finished run of the tiny recipes into the package, with its question and its record.

`emocaliber ask` and `emocaliber chat` answer with it where no other model is named. The record counts the held-out rows
alone. Run it again whenever `emocaliber/data/tiny-base` or the tiny recipes change.

    python scripts/pack_tiny_adapter.py out/demo
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import msgspec

from emocaliber.chat.record import FILE, read_record, write_record
from emocaliber.core.errors import UserError
from emocaliber.models.location import TINY, TINY_ADAPTER, embedded_base, fingerprint, read_question, write_question
from emocaliber.stages.clusters import TRAINED

WEIGHTS, CONFIG, BASE = "adapter_model.safetensors", "adapter_config.json", "base_model_name_or_path"


def pack(run: Path, out: Path) -> None:
    """Write weights, configuration, emocaliber.json, calibration.json and trained_clusters.json.

    Raises UserError where the run is not finished, or of another base.
    """
    stage, record = run / "3-calibrate", read_record(run)
    trained_on = json.loads((stage / "done.json").read_text())["inputs"]["model"]
    if trained_on != fingerprint(embedded_base()):
        raise UserError(f"{run}: trained on another tiny base than {embedded_base()}; run `make demo` again")
    question = read_question(stage / "adapter")
    if question is None:
        raise UserError(f"{stage / 'adapter'}: no emocaliber.json; run `make demo` again")
    out.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, TRAINED):
        shutil.copyfile(stage / "adapter" / name, out / name)
    config = json.loads((stage / "adapter" / CONFIG).read_text())
    config[BASE] = "emocaliber/data/tiny-base"  # the run wrote the folder of the machine that it ran on
    (out / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    write_question(out, msgspec.structs.replace(question, base=TINY))
    write_record(out / FILE, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished `emocaliber run recipes/tiny --out RUN`")
    parser.add_argument("--out", type=Path, default=TINY_ADAPTER, help=f"default: {TINY_ADAPTER}")
    arguments = parser.parse_args()
    try:
        pack(arguments.run, arguments.out)
    except UserError as error:
        sys.exit(f"pack_tiny_adapter: {error}")
    print(f"written: {arguments.out}")
