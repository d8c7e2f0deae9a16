"""Short questions that ask for reasoning, recipes of a few steps, and rows whose rationales a template writes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.runs.few_rows import few_rows

LABEL = {
    "prompt": "Which feeling fits this image: {candidates}? Think first.",
    "answer": "<think>{reasoning}</think><answer>{label}</answer>",
}
CONFIDENCE = {
    "prompt": "Which feeling fits this image: {candidates}? Think first, then be sure.",
    "answer": "<think>{reasoning}</think><answer>{label}</answer><confidence>{confidence}</confidence>",
}
RECIPE = {
    "model": "tiny", "seed": 0, "per_device_train_batch_size": 8, "learning_rate": 0.003, "logging_steps": 1,
    "save_steps": 4, "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "packing": True,
    "lora_r": 32, "lora_alpha": 64, "max_answer_tokens": 32,
}  # fmt: skip


def reasoned_rows(path: Path, rows: dict[str, int]) -> Path:
    """As `few_rows`, with a rationale that names the label; of some, three steps."""
    table = pq.read_table(few_rows(path, rows))
    short = [f"It is {label}." for label in table["label"].to_pylist()]
    rationales = [f"A face. {text}" if n % 2 else text for n, text in enumerate(short)]
    pq.write_table(table.append_column("rationale", pa.array(rationales)), path)
    return path


def reasoned_recipes(folder: Path, data: Path, steps: dict[str, int]) -> Path:
    """The recipes of the three stages in a folder, each of so many steps, beside the two templates."""
    folder.mkdir(exist_ok=True)
    templates = {"label": folder / "think-label.yml", "confidence": folder / "think.yml"}
    for name, template in zip(templates.values(), (LABEL, CONFIDENCE), strict=True):
        name.write_text(yaml.safe_dump(template))
    stages: dict[str, dict[str, object]] = {
        "1-label": {"stage": "label", "splits": ["train"], "template": str(templates["label"])},
        "2-verbalize": {"stage": "verbalize", "splits": ["unlabelled"], "template": str(templates["confidence"])},
        "3-calibrate": {"stage": "calibrate", "splits": ["calibrate"], "template": str(templates["confidence"])},
    }
    for name, own in stages.items():
        recipe = RECIPE | own | {"data": [str(data)], "max_steps": steps[name]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return folder
