"""The launches: launcher x work x tuning x quantization x beta, each of them supported or refused with its sentence.

`emocaliber train` and `emocaliber recipe validate` refuse by this list before a model is loaded; the tests run what two
CPU processes can run; the table of recipes/accelerate/README.md is printed from it:

    python -m emocaliber.runs.launches
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from emocaliber.core.errors import UserError
from emocaliber.stages.recipe import Method, Quantization, Recipe, Tuning

Launcher = Literal["single", "ddp", "zero2", "zero3", "fsdp2"]
"""One process; or `accelerate launch` with the file of that name in recipes/accelerate."""
Work = Literal["label", "verbalize"] | Method
"""What a recipe does: stage 1, stage 2, or the method of stage 3."""

WITH_BETA: tuple[Work, ...] = ("grpo", "rloo")
"""Where `beta: 0` means that there is no reference model; DPO and KTO always have one."""
WORKS: tuple[Work, ...] = ("label", "verbalize", *get_args(Method))
LAUNCHERS: tuple[Launcher, ...] = get_args(Launcher)
ON_GPUS_ONLY: tuple[Launcher, ...] = ("zero2", "zero3", "fsdp2")
"""Launchers that part what they hold among GPUs: two CPU processes without DeepSpeed can try none of them."""


@dataclass(frozen=True)
class Launch:
    """One combination. `reference` says whether a KL penalty or a preference loss compares with the start."""

    launcher: Launcher
    work: Work
    tuning: Tuning
    quantization: Quantization
    reference: bool

    def __str__(self) -> str:
        beta = f" beta={'0.01' if self.reference else '0'}" if self.work in WITH_BETA else ""
        return f"{self.launcher} {self.work} {self.tuning} {self.quantization}{beta}"


@dataclass(frozen=True)
class Refusal:
    """What is refused, all of its conditions together, and the sentence that says why and what to do instead."""

    sentence: str
    launchers: tuple[Launcher, ...] = LAUNCHERS
    works: tuple[Work, ...] = WORKS
    tuning: tuple[Tuning, ...] = get_args(Tuning)
    quantization: tuple[Quantization, ...] = get_args(Quantization)

    def meets(self, launch: Launch) -> bool:
        """Whether the launch is one of those."""
        return (
            launch.launcher in self.launchers
            and launch.work in self.works
            and launch.tuning in self.tuning
            and launch.quantization in self.quantization
        )


REFUSALS = (
    Refusal(
        "quantized weights cannot be trained themselves; give tuning: lora",
        tuning=("full",),
        quantization=("nf4", "int8"),
    ),
    Refusal(
        "GRPO and RLOO generate while they train, which sharded weights do not allow; launch with"
        " recipes/accelerate/ddp.yaml or zero2.yaml, or give method: proper",
        launchers=("zero3", "fsdp2"),
        works=("grpo", "rloo"),
    ),
    Refusal(
        "DPO and KTO have not been tried with sharded weights; launch with recipes/accelerate/ddp.yaml or zero2.yaml,"
        " or give method: proper",
        launchers=("zero3", "fsdp2"),
        works=("dpo", "kto"),
    ),
    Refusal(
        "8-bit weights cannot be sharded; give quantization: nf4 or none, or launch with recipes/accelerate/ddp.yaml",
        launchers=("zero3", "fsdp2"),
        quantization=("int8",),
    ),
)


def every_launch() -> Iterator[Launch]:
    """All combinations, those with a reference model after those without."""
    for launcher, work, tuning, quantization in product(LAUNCHERS, WORKS, get_args(Tuning), get_args(Quantization)):
        for reference in (False, True) if work in WITH_BETA else (work in ("dpo", "kto"),):
            yield Launch(launcher, work, tuning, quantization, reference)


def refusal(launch: Launch) -> str | None:
    """The sentence with which the launch is refused; None where it is supported."""
    return next((rule.sentence for rule in REFUSALS if rule.meets(launch)), None)


def tried_on_two_processes(launch: Launch) -> bool:
    """Whether the tests run it. Of DDP all but quantized weights in stage 3, which take a CPU minutes for a step; of
    FSDP2 what is not quantized, by PyTorch's fully_shard, which accelerate by itself leaves out on a CPU.
    """
    if refusal(launch) is not None:
        return False
    if launch.quantization != "none":
        return launch.launcher == "ddp" and launch.work in ("label", "verbalize")
    return launch.launcher in ("ddp", "fsdp2")


def launch_of(recipe: Recipe, launcher: Launcher) -> Launch:
    """The combination that a recipe and a launcher make."""
    work: Work = recipe.method if recipe.stage == "calibrate" else recipe.stage
    beta = float(recipe.trainer.get("beta", {"grpo": 0.0, "rloo": 0.05}.get(work, 0.0)))
    reference = beta > 0 if work in WITH_BETA else work in ("dpo", "kto")
    return Launch(launcher, work, recipe.tuning, recipe.quantization, reference)


def refuse_launch(recipe: Recipe, launcher: Launcher) -> None:
    """Raises UserError where the list refuses the recipe under this launcher."""
    launch = launch_of(recipe, launcher)
    if sentence := refusal(launch):
        raise UserError(f"{recipe.path}: {launch}: {sentence}")


def table() -> str:
    """The list as a Markdown table: a row for each work, tuning and quantization, a column for each launcher."""
    notes = [rule.sentence for rule in REFUSALS]
    lines = [f"| recipe | {' | '.join(LAUNCHERS)} |", "|---" * (1 + len(LAUNCHERS)) + "|"]
    for work, (tuning, quantization) in product(WORKS, (*product(("lora",), get_args(Quantization)), ("full", "none"))):
        launches = [Launch(launcher, work, tuning, quantization, work in ("dpo", "kto")) for launcher in LAUNCHERS]
        name = f"`{work}`, {tuning}" + ("" if quantization == "none" else f", {quantization}")
        lines.append(f"| {name} | {' | '.join(_cell(launch, notes) for launch in launches)} |")
    return "\n".join([*lines, "", *(f"{number}. Refused: {note}." for number, note in enumerate(notes, 1))]) + "\n"


def _cell(launch: Launch, notes: list[str]) -> str:
    if sentence := refusal(launch):
        return f"refused ({notes.index(sentence) + 1})"
    if launch.launcher == "single":
        return "supported"
    if launch.launcher in ON_GPUS_ONLY:
        return "GPU"
    return "tested" if tried_on_two_processes(launch) else "untried"


if __name__ == "__main__":
    print(table(), end="")
