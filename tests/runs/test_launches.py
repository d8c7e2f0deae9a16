"""The list of launches: each is run by two CPU processes, called untried, or refused before a model is looked for."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

import emocaliber
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.models.location import embedded_base
from emocaliber.runs.launches import (
    LAUNCHERS,
    ON_GPUS_ONLY,
    REFUSALS,
    Launch,
    every_launch,
    launch_of,
    refusal,
    refuse_launch,
    table,
    tried_on_two_processes,
)
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import read_log
from tests.runs.few_rows import answers_in_pairs, few_rows
from tests.runs.short_runs import ON_CPU, losses

RECIPES = Path(__file__).parents[2] / "recipes"
REFUSED = [launch for launch in every_launch() if refusal(launch) is not None]


def recipe_of(launch: Launch) -> Recipe:
    """A recipe that makes this combination; its model does not exist."""
    file = {"label": "1-label", "verbalize": "2-verbalize"}.get(launch.work, "3-calibrate")
    recipe = read_recipe(RECIPES / "tiny" / f"{file}.yaml")
    changes = {} if launch.work in ("label", "verbalize") else {"method": launch.work}
    settings = {"tuning": launch.tuning, "quantization": launch.quantization, "model": "nowhere", **changes}
    return replace(recipe, trainer=recipe.trainer | {"beta": 0.01 if launch.reference else 0}, **settings)  # type: ignore[arg-type]


def test_a_recipe_is_found_in_the_list() -> None:
    assert [launch_of(recipe_of(launch), launch.launcher) for launch in every_launch()] == list(every_launch())


@pytest.mark.parametrize("launch", REFUSED, ids=str)
def test_what_the_list_refuses_is_refused_by_its_sentence(launch: Launch) -> None:
    with pytest.raises(UserError) as error:
        refuse_launch(recipe_of(launch), launch.launcher)
    assert str(refusal(launch)) in str(error.value)


def test_what_the_list_does_not_refuse_is_not_refused() -> None:
    for launch in set(every_launch()) - set(REFUSED):
        refuse_launch(recipe_of(launch), launch.launcher)


def test_every_refusal_has_a_launch_and_every_launcher_a_supported_one() -> None:
    assert {refusal(launch) for launch in REFUSED} == {rule.sentence for rule in REFUSALS}
    assert {launch.launcher for launch in every_launch() if refusal(launch) is None} == set(LAUNCHERS)
    assert {path.stem for path in (RECIPES / "accelerate").glob("*.yaml")} == {"ddp", *ON_GPUS_ONLY}


def test_validate_refuses_by_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "tiny" / "3-calibrate-grpo.yaml")
    assert main(["recipe", "validate", recipe]) == 0
    assert main(["recipe", "validate", recipe, "--launcher", "fsdp2"]) == 2
    assert "GRPO and RLOO generate while they train" in capsys.readouterr().err


def test_the_table_in_the_readme_is_that_of_the_list() -> None:
    assert table() in (RECIPES / "accelerate" / "README.md").read_text()


def printed_launches() -> list[tuple[str, str, str]]:
    """README, launcher and recipe of each multi-GPU command that a README prints, its shell variables expanded."""
    lines = []
    for readme in sorted([*RECIPES.glob("*/README.md"), RECIPES.parent / "README.md"]):
        text = readme.read_text().replace("\\\n", " ")
        variables = {
            **dict(re.findall(r"\b([A-Z])=([^\s\";]+)", text)),
            **dict(re.findall(r'\b([A-Z])="([^"]+)"', text)),
        }
        text = re.sub(r"\$([A-Z])\b", lambda match, known=variables: known.get(match[1], match[0]), text)
        pattern = r"recipes/accelerate/(\w+)\.yaml[^\n]*emocaliber train\s+(recipes/\S+\.yaml)"
        lines += [(readme.parent.name, launcher, recipe) for launcher, recipe in re.findall(pattern, text)]
    return lines


@pytest.mark.parametrize(("readme", "launcher", "recipe"), printed_launches())
def test_every_launch_that_a_readme_prints_is_supported(readme: str, launcher: str, recipe: str) -> None:
    refuse_launch(read_recipe(RECIPES.parent / recipe), launcher)  # type: ignore[arg-type]


def test_the_readmes_print_launches() -> None:
    assert {launcher for _, launcher, _ in printed_launches()} == {"ddp", "zero2", "fsdp2"}


ADAPTER = Path(emocaliber.__file__).parent / "data" / "tiny-adapter"
RUN = [launch for launch in every_launch() if tried_on_two_processes(launch)]
PROGRAM = """
import json, sys, traceback
from pathlib import Path
import torch.distributed as dist
from emocaliber.cli import main

for out, command in json.loads(Path(sys.argv[1]).read_text()):
    try:
        result = f"exit code {main(command)}, {dist.get_world_size()} processes"
    except Exception:
        result = f"process {dist.get_rank()}: {traceback.format_exc()}"
    if dist.get_rank() == 0 or result.startswith("process"):
        Path(out).with_suffix(".result").write_text(result)
"""


SHARDED = """
import accelerate.accelerator as accelerator, accelerate.state as state
from torch.distributed.tensor import DTensor
from emocaliber.runs import train

made, prepare = state.AcceleratorState.__init__, accelerator.fsdp2_prepare_model

def sharding_on_a_cpu(self, *arguments, fsdp_plugin=None, **named):
    made(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
    if fsdp_plugin is not None or "fsdp_plugin" in self._shared_state:
        self.distributed_type = state.PartialState._shared_state["distributed_type"] = state.DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin or self.fsdp_plugin

def halved(*arguments):
    model = prepare(*arguments)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    assert all(isinstance(weight, DTensor) for weight in weights)
    share = sum(weight.to_local().numel() for weight in weights) / sum(weight.numel() for weight in weights)
    assert share < 0.51, f"this process holds {share:.0%} of what learns"
    return model

state.AcceleratorState.__init__, accelerator.fsdp2_prepare_model = sharding_on_a_cpu, halved
train.refuse_here = lambda *arguments, **named: None
"""
"""Accelerate leaves FSDP out on a CPU, which `emocaliber train` refuses: here it shards, as on GPUs."""


def fsdp2_environment() -> dict[str, str]:
    """What `accelerate launch` makes of recipes/accelerate/fsdp2.yaml."""
    keys = yaml.safe_load((RECIPES / "accelerate" / "fsdp2.yaml").read_text())["fsdp_config"]
    environment = {name.upper(): str(value) for name, value in keys.items()}
    return {"ACCELERATE_USE_FSDP": "true", **environment}


def merged(folder: Path) -> Path:
    """The shipped adapter and base as one model, whose answers can be read."""
    base: Any = AutoModelForImageTextToText.from_pretrained(embedded_base())
    PeftModel.from_pretrained(base, str(ADAPTER)).merge_and_unload().save_pretrained(folder)
    AutoProcessor.from_pretrained(embedded_base()).save_pretrained(folder)
    return folder


def command_of(launch: Launch, out: Path, data: Path, pairs: Path, model: Path) -> list[str]:
    """Two steps of the combination on a few rows."""
    file = {"label": "1-label", "verbalize": "2-verbalize", "grpo": "3-calibrate-grpo", "rloo": "3-calibrate-rloo"}
    file |= {"dpo": "3-calibrate-dpo", "kto": "3-calibrate-dpo"}
    recipe = RECIPES / "tiny" / f"{file.get(launch.work, '3-calibrate')}.yaml"
    changes = [*ON_CPU, f"data=[{data}]", f"tuning={launch.tuning}", f"quantization={launch.quantization}"]
    changes += ["gradient_accumulation_steps=1", "save_steps=2"]
    if launch.work == "verbalize":
        changes += ["splits=[unlabelled]"]
    if launch.work in ("grpo", "rloo"):
        changes += ["num_generations=2", "max_completion_length=12", f"beta={0.01 if launch.reference else 0}"]
    if launch.work in ("dpo", "kto"):
        changes += [f"method={launch.work}", f"pairs={pairs}"]
    if launch.tuning == "full":
        return ["train", str(recipe), *changes, f"model={model}", "--out", str(out)]
    start = [] if launch.work == "label" else ["--adapter", str(ADAPTER)]
    return ["train", str(recipe), *changes, *start, "--out", str(out)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every supported launch of two CPU processes, one after another in the same two."""
    folder = tmp_path_factory.mktemp("launches")
    data = few_rows(folder / "few.parquet", {"train": 8, "unlabelled": 8, "calibrate": 16})
    pairs, model = answers_in_pairs(data, folder / "pairs.jsonl"), merged(folder / "model")
    commands = [
        (str(folder / str(number)), command_of(launch, folder / str(number), data, pairs, model))
        for number, launch in enumerate(RUN)
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(RECIPES.parent)}
    for launcher, program, more in (("ddp", PROGRAM, {}), ("fsdp2", SHARDED + PROGRAM, fsdp2_environment())):
        chosen = [command for launch, command in zip(RUN, commands, strict=True) if launch.launcher == launcher]
        (folder / f"{launcher}.py").write_text(program)
        (folder / f"{launcher}.json").write_text(json.dumps(chosen))
        command = [*torchrun, str(folder / f"{launcher}.py"), str(folder / f"{launcher}.json")]
        subprocess.run(command, check=False, env=environment | more, cwd=RECIPES.parent, timeout=1200)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launch", RUN, ids=str)
def test_two_processes_run_two_steps_of_what_the_table_calls_tested(launch: Launch, runs: Path) -> None:
    out = runs / str(RUN.index(launch))
    assert out.with_suffix(".result").read_text() == "exit code 0, 2 processes"
    assert len(losses(out)) == 2
    assert all(map(math.isfinite, losses(out)))
    assert (out / ("adapter" if launch.tuning == "lora" else "model")).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("launch", [launch for launch in RUN if launch.launcher == "fsdp2"], ids=str)
def test_sharded_weights_learn_what_whole_ones_learn(launch: Launch, runs: Path) -> None:
    unsharded = replace(launch, launcher="ddp")
    folders = [runs / str(RUN.index(entry)) for entry in (launch, unsharded)]
    assert losses(folders[0]) == pytest.approx(losses(folders[1]), abs=1e-4)
    if launch.work == "proper":
        sharded, ddp = (read_log(folder / "held_out.jsonl") for folder in folders)
        assert [line["brier"] for line in sharded] == pytest.approx([line["brier"] for line in ddp], abs=1e-4)
