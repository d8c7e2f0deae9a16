"""Where a stage spends its time: each second is counted for exactly one part, shown as a table and a bar chart.

The parts are coarse, from waiting for data to the optimiser; for kernels, use torch.profiler. The backward pass is not
split by module: it counts with the loss, whichever modules it passes through.

    emocaliber train recipes/tiny/1-label.yaml max_steps=30 --out out/profile --profile
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

REST, ASKING, DATA, VISION = "the rest", "asking the model before", "data", "vision tower"
FORWARD, BACKWARD, OPTIMISER = "language model, forward", "loss and backward", "optimiser"
GENERATION, REWARD, RECORDS = "generation", "reward", "checkpoints and logs"
HELD_OUT = "watching held-out rows"
PICTURE = "profile.png"
TOWERS = ("visual", "vision_tower", "vision_model")
"""Names of the vision tower in the model families."""


class Profile:
    """Seconds by part, and the number of steps. Parts nest; time counts for the innermost one only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.steps = 0
        self._open = [REST]
        self._since = time.perf_counter()

    def begin(self, part: str) -> None:
        """Begin a part inside the current one; parts inside generation and querying count as these."""
        self.count(self._open[-1])
        self._open.append(self._open[-1] if self._open[-1] in {GENERATION, ASKING} else part)

    def end(self) -> None:
        """End the innermost part."""
        self.count(self._open[-1])
        self._open.pop()

    def count(self, part: str) -> None:
        """Add the time since the last count to the part."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


_current: ContextVar[Profile | None] = ContextVar("profile", default=None)


@contextmanager
def profiled() -> Iterator[Profile]:
    """Profile the stage that runs inside this context."""
    profile = Profile()
    token = _current.set(profile)
    try:
        yield profile
    finally:
        profile.count(REST)
        _current.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Count the time inside this context for the part; does nothing without an active profile."""
    profile = _current.get()
    if profile is None:
        yield
        return
    profile.begin(name)
    try:
        yield
    finally:
        profile.end()


def profile_trainer(trainer: Trainer) -> None:
    """Hook the parts of a trainer's steps; does nothing without an active profile."""
    profile = _current.get()
    if profile is None:
        return
    trainer.add_callback(_StepTimer(profile))
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    towers = [module for name, module in model.named_modules() if name.rpartition(".")[2] in TOWERS]
    for module, name in [(model, FORWARD), *((tower, VISION) for tower in towers[:1])]:
        module.register_forward_pre_hook(lambda *_, name=name: profile.begin(name))
        module.register_forward_hook(lambda *_: profile.end())
    model.generate = _timed(GENERATION, model.generate)
    rewards = vars(trainer).get("reward_funcs", [])  # TRL's online methods have them
    rewards[:] = [_timed(REWARD, reward) for reward in rewards]


def _timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        with part(name):
            return work(*arguments, **named)

    return timed


class _StepTimer(TrainerCallback):
    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.profile.begin(DATA)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.profile.end()
        self.profile.begin(BACKWARD)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.profile.end()
        self.profile.begin(OPTIMISER)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.profile.end()
        self.profile.begin(HELD_OUT)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.profile.end()
        self.profile.begin(DATA)
        self.profile.steps += 1

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.profile.count(RECORDS)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.profile.count(RECORDS)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.profile.end()


def profile_table(profile: Profile) -> str:
    """One line for each part, the longest first: seconds, share of the total, milliseconds a step."""
    total, steps = sum(profile.seconds.values()), max(profile.steps, 1)
    lines = [f"{'part':<26}{'seconds':>9}{'share':>8}{'ms a step':>11}"]
    for name, seconds in by_time(profile):
        lines.append(f"{name:<26}{seconds:>9.1f}{seconds / total:>8.1%}{1000 * seconds / steps:>11.0f}")
    lines.append(f"{f'all, {profile.steps} steps':<26}{total:>9.1f}{1:>8.1%}{1000 * total / steps:>11.0f}")
    return "\n".join(lines)


def by_time(profile: Profile) -> list[tuple[str, float]]:
    """Parts and seconds, the longest first."""
    return sorted(profile.seconds.items(), key=lambda item: -item[1])


def draw_profile(profile: Profile, out: Path) -> Path:
    """Draw the profile as a bar chart in `out/profile.png`; returns its path."""
    parts = by_time(profile)[::-1]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 0.8 + 0.35 * len(parts)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh([name for name, _ in parts], [seconds for _, seconds in parts], color="#0067a3")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="Seconds", title=f"Where {profile.steps} steps spend their time")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    path = out / PICTURE
    figure.savefig(path, dpi=150)
    return path
