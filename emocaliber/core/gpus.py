"""Which GPUs a process sees: a process that no launcher started takes one, chosen before torch is imported.

if sentence := take_one_gpu(os.environ):
    print(sentence)
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path


def take_one_gpu(environment: MutableMapping[str, str], devices: Path = Path("/dev")) -> str | None:
    """Let a process that no launcher started see the first GPU alone, and say so; None where it sees one or none.

    To be called before torch is imported: later, the choice is made.
    """
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        return None
    named = environment.get("CUDA_VISIBLE_DEVICES")
    here = sorted(devices.glob("nvidia[0-9]*"), key=lambda device: int(device.name.removeprefix("nvidia")))
    visible = [str(number) for number in range(len(here))] if named is None else [n for n in named.split(",") if n]
    if len(visible) < 2:
        return None
    environment["CUDA_VISIBLE_DEVICES"] = visible[0]
    return (
        f"One process takes one GPU, number {visible[0]} of the {len(visible)} here; for all of them start it by"
        f" accelerate launch --num_processes {len(visible)} (recipes/accelerate)"
    )
