"""A page that plots every stage-3 reward: the reward of correct and wrong answers, and where it can be gamed.

Everything is computed from the formulas; nothing is measured.

    emocaliber recipe rewards --out rewards.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emocaliber.reporting.document import Cell, Document, Figure, Panel, Paragraph, Section, Table
from emocaliber.reporting.pages import write_page
from emocaliber.reporting.svg import BAND, BLUE, GREY, INK, ORANGE, draw_svg
from emocaliber.stages.rewards import DRAWN, GRID, Range, Reward, Safety, honest_value, named_reward, safety

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EARNED_READING = (
    "The reward of a correct and of a wrong answer (vertical) at each confidence (horizontal). The dotted line is the"
    " reward of an unreadable answer: no readable answer should earn less. Curves are clipped at the edge of the plot."
)
HONEST_READING = (
    "The expected reward (vertical) against the probability p that the model's best answer is correct (horizontal): of"
    " honesty (that answer with confidence p) and of the best deliberately wrong answer. In the shaded range the"
    " deliberate error pays more, so a model trained with this reward learns to give up there."
)
LOWEST = -3.0  # lower end of the plots: log scores extend to minus infinity


def write_rewards_page(path: Path, names: Sequence[str] = DRAWN) -> None:
    """Write the page; raises ValueError for an unknown reward."""
    write_page(rewards_document(names), path)


def rewards_document(names: Sequence[str]) -> Document:
    """The page's content for these rewards, in order."""
    checks = [(reward, safety(reward)) for reward in map(named_reward, names)]
    opening = Paragraph(
        "A reward teaches a model to name the likeliest label with its true probability only if nothing else pays"
        " better. Each reward here is checked on a grid of probabilities and confidences, 2,001 values each.",
        lead=True,
    )
    return Document(
        "Rewards for stage 3",
        [opening, _table(checks)],
        [
            Section("What an answer earns", [Figure("Correct and wrong", [_earned(reward) for reward, _ in checks],
                                                    EARNED_READING)]),
            Section("What honesty earns", [Figure("Honesty and deliberate error", [_honest(*pair) for pair in checks],
                                                  HONEST_READING)]),
        ],
    )  # fmt: skip


def _table(checks: Sequence[tuple[Reward, Safety]]) -> Table:
    rows = [
        [
            Cell(reward.name),
            Cell("safe" if checked.safe else "not safe"),
            Cell(_ranges(checked.dishonest)),
            Cell(_ranges(checked.error_pays)),
            Cell(_ranges(checked.garbage_pays_when_wrong)),
            Cell(_ranges(checked.garbage_pays_when_right)),
            Cell(f"{reward.malformed:.2f}".replace("-", "−")),
        ]
        for reward, checked in checks
    ]
    header = ["Reward", "Offered as", "Dishonesty pays at p", "Deliberate error pays at p",
              "Unreadable beats a wrong answer at c", "Unreadable beats a correct answer at c",
              "Malformed earns"]  # fmt: skip
    return Table("Where each reward fails; a safe one fails nowhere.", header, rows)


def _ranges(ranges: tuple[Range, ...]) -> str:
    return ", ".join(f"{low:.3f}–{high:.3f}" for low, high in ranges) or "nowhere"


def _earned(reward: Reward) -> Panel:
    c = GRID[1:-1] if reward.open_ends else GRID

    def draw(axes: Axes) -> None:
        axes.plot(c, reward.right(c), color=BLUE.light, label="correct")
        axes.plot(c, reward.wrong(c), color=ORANGE.light, linestyle=(0, (6, 2)), label="wrong")
        height = reward.malformed if reward.malformed >= LOWEST else np.nan
        axes.axhline(height, color=GREY.light, linestyle=(0, (1, 2)), label=_malformed(reward))
        axes.set(xlim=(0, 1), xlabel="Confidence c (0 to 1)", ylabel="Reward")
        axes.set_ylim(LOWEST - 0.1, 3.0)
        axes.legend(loc="upper center", labelcolor=INK.light, ncols=3, handlelength=2, columnspacing=1.2)

    right, wrong = reward.right(c), reward.wrong(c)
    description = (
        f"{reward.name}, from the least confidence to the most: a correct answer earns {right[0]:.2f} to"
        f" {right[-1]:.2f}, a wrong one {wrong[0]:.2f} to {wrong[-1]:.2f}."
    )
    name = _panel_name("earned", reward)
    return Panel(name, reward.name, draw_svg(name, description, draw, height=250))


def _malformed(reward: Reward) -> str:
    return "malformed" if reward.malformed >= LOWEST else f"malformed ({reward.malformed:.1f}, below)".replace("-", "−")


def _honest(reward: Reward, checked: Safety) -> Panel:
    p = GRID[1:-1] if reward.open_ends else GRID
    cheating = float(reward.wrong(p).max())

    def draw(axes: Axes) -> None:
        for low, high in checked.error_pays:
            axes.axvspan(low, high, color=BAND.light)
            axes.text((low + high) / 2, 1.75, f"error pays below p = {high:.3f}", ha="center", fontsize=9)
        axes.plot(p, honest_value(reward, p), color=BLUE.light, label="honesty")
        axes.plot(p, np.full(len(p), cheating), color=ORANGE.light, linestyle=(0, (6, 2)), label="deliberate error")
        axes.set(xlim=(0, 1), xlabel="Probability p of being correct (0 to 1)", ylabel="Mean reward")
        axes.set_ylim(-1.7, 2.1)
        axes.legend(loc="lower center", labelcolor=INK.light, ncols=2, handlelength=2)

    name = _panel_name("honest", reward)
    return Panel(name, reward.name, draw_svg(name, f"{reward.name}: {checked}.", draw, height=230))


def _panel_name(kind: str, reward: Reward) -> str:
    return f"{kind}-{reward.name}".replace(".", "_")
