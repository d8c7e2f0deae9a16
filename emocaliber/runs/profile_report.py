"""The profile of a stage as a table and a picture.

emocaliber train recipes/tiny/1-label.yaml max_steps=30 --out out/profile --profile
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emocaliber.stages.profiling import Profile

PICTURE = "profile.png"


def profile_table(profile: Profile) -> str:
    """One line a part, the longest first: seconds, share of the whole, milliseconds a step."""
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
    """The same as bars, in `out/profile.png`; returns its path."""
    parts = by_time(profile)[::-1]
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
