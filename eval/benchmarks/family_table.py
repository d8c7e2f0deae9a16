"""What each model family supports: tested, refused or not verified, from what the test suite runs, what the code
refuses, and what `families.py` measured.

    python eval/benchmarks/family_table.py --write       # puts it into eval/results/families.md and, shorter, README.md

`tested`: the suite has a test of it with a tiny random model of the family's true architecture on a CPU. vLLM is
`tested` where the results file has the engines no further apart than three times the rounding. `refused`: the code
raises before the run. All else is `not verified`, the published weights and anything on a GPU among it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the families' models are the tests' own

from emocaliber.core.errors import UserError  # noqa: E402
from emocaliber.runs.reach import configuration  # noqa: E402
from emocaliber.runs.recipes import read_recipe  # noqa: E402
from emocaliber.stages.fast.families import refuse_drawing, refuse_packing  # noqa: E402
from tests.runs.short_runs import FOLDER, RECIPES  # noqa: E402

RESULTS, README = ROOT / "eval" / "results" / "families.md", ROOT / "README.md"
BEGIN, END = "<!-- family_table.py -->", "<!-- end of family_table.py -->"
FAMILIES, PACKING = "tests/runs/test_families.py", "tests/stages/fast/test_packing.py"
TESTS = {  # what the suite runs, by the test's name; {} is the family
    "LoRA in every layer": ("tests/models/test_layers.py", "test_the_default_target_reaches_every_layer", "[{}]"),
    "stages 1, 2, 3 (SFT, proper loss)": (FAMILIES, "test_the_three_stages_run", "[{}]"),
    "GRPO": (FAMILIES, "test_grpo_runs_two_steps", "[{}-none]"),
    "projector": (FAMILIES, "test_a_projector_learns_in_every_stage", "[{}]"),
    "packing": (PACKING, "test_another_picture_and_answer_in_one_row_change_no_bit", "[{}]"),
    "nf4": (FAMILIES, "test_the_language_model_alone_is_quantised", "[{}-nf4]"),
    "int8": (FAMILIES, "test_the_language_model_alone_is_quantised", "[{}-int8]"),
}
SHORT = {  # columns of the README's table, and what they put together
    "stages 1–3": {"": "stages 1, 2, 3 (SFT, proper loss)"},
    "methods": {"SFT, proper": "stages 1, 2, 3 (SFT, proper loss)", "GRPO": "GRPO"},
    "packing": {"": "packing"},
    "engines": {"transformers": "stages 1, 2, 3 (SFT, proper loss)", "vLLM": "vLLM, adapter"},
    "quantisation": {"nf4": "nf4", "int8": "int8"},
}
SERVED = {"vLLM, adapter": "adapter", "vLLM, merged": "merged"}
NAMES = {"qwen2.5-vl": "Qwen2.5-VL", "qwen3-vl": "Qwen3-VL", "smolvlm": "SmolVLM", "internvl": "InternVL"}
"""How the results file's older rows call them."""
ROUNDINGS = 3.0
REFUSALS = {"packing": refuse_packing, "GRPO": refuse_drawing}


def collected() -> set[str]:
    """The ids of all tests in the suite."""
    files = sorted({file for file, _, _ in TESTS.values()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", *files]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line.strip() for line in listed.splitlines() if "::" in line}


def served(text: str, family: str, way: str) -> str:
    """From the results file: tested if the engines' difference is at most a few times the rounding."""
    name = f"({re.escape(family)}|{NAMES.get(family, family)})"
    row = re.search(rf"^\| {name} \| {way} \| \d+ of [^|]*\| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    return "tested" if row and float(row[2]) <= ROUNDINGS * float(row[3]) else "not verified"


def table() -> str:
    """The table as Markdown."""
    test_ids, text = collected(), RESULTS.read_text()
    columns = [*TESTS, *SERVED]
    lines = ["| family | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for family, folder in FOLDER.items():
        kind = configuration(read_recipe(RECIPES / folder / "1-label.yaml")).model_type
        cells = []
        for column, (file, name, ending) in TESTS.items():
            ids = [
                each for each in test_ids if each.startswith(f"{file}::{name}") and each.endswith(ending.format(family))
            ]
            cells.append("tested" if ids else _refused(column, kind) or "not verified")
        cells += [served(text, family, way) for way in SERVED.values()]
        lines.append(f"| [{family}](../../recipes/{folder}) (`{kind}`) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short(made: str) -> str:
    """The README's table: one line per family, from the lines of the full table."""
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in made.splitlines())
    lines = ["| family | " + " | ".join(SHORT) + " |", "|---" * (len(SHORT) + 1) + "|"]
    for row in rows:
        states = dict(zip(header, row, strict=True))
        cells = [_together({part: states[name] for part, name in parts.items()}) for parts in SHORT.values()]
        lines.append(f"| {row[0].replace('../../', '').partition(' (`')[0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _together(states: dict[str, str]) -> str:
    """ "nf4, int8: tested", or each with its own."""
    by_state: dict[str, list[str]] = {}
    for part, state in states.items():
        by_state.setdefault(state, []).append(part)
    return "; ".join(f"{', '.join(parts)}: {state}".removeprefix(": ") for state, parts in by_state.items())


def between(text: str, made: str) -> str:
    """A page with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}"


def _refused(column: str, kind: str) -> str:
    try:
        if column in REFUSALS:
            REFUSALS[column](kind)
    except UserError:
        return "refused"
    return ""


def main() -> None:
    """Print the table, and write it to a file if asked to."""
    parser = argparse.ArgumentParser(description="Which family does what: tested, refused or not verified.")
    parser.add_argument("--write", action="store_true", help="put it into eval/results/families.md and README.md")
    made = table()
    print(made)
    if parser.parse_args().write:
        RESULTS.write_text(between(RESULTS.read_text(), made))
        README.write_text(between(README.read_text(), short(made)))


if __name__ == "__main__":
    main()
