"""A Ray to run engines on: one of this machine's own, which ends with the run, or a cluster that is there already.

Not a launcher of clusters: `ray start`, KubeRay and the launchers of clouds make these (recipes/cluster).

    with engines_on_ray("10.0.0.1:6379", build) as engine: ...
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import Any

from emocaliber import __version__
from emocaliber.core.environment import usable_cores
from emocaliber.core.errors import UserError
from emocaliber.generation.engine import Engine
from emocaliber.generation.ray_engine import RayEngine, first_line

LOCAL = "local"
"""The address of a Ray that is started on this machine for this run, and ends with it."""
INSTALL = "pip install 'emocaliber[ray]'"


@contextmanager
def engines_on_ray(
    address: str, build: Callable[[], Engine], *, count: int | None = None, device: str = "auto"
) -> Iterator[RayEngine]:
    """Engines on a Ray that is started for this, or on the cluster at `address` (HOST:PORT, or "auto"), until the end.

    By default one for each GPU of the cluster, or one engine where there is none or `device` is another. Raises
    UserError as `connected` does, where the cluster lacks emocaliber, or an engine cannot be built.
    """
    with connected(address, count or 1) as is_ours:
        import ray

        if address != LOCAL:
            _check_installation(ray)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        on_gpus = device.startswith("cuda") or (device == "auto" and gpus > 0)
        count = count or (max(gpus, 1) if on_gpus else 1)
        cpus = 0 if on_gpus else _threads(count) if is_ours else _cpus_each(ray, count)
        if on_gpus and count > gpus:
            print(f"{count} engines, {gpus} GPUs: some begin when there are more", file=sys.stderr, flush=True)
        engine = RayEngine(build, count, gpus=on_gpus, cpus=cpus)
        try:
            yield engine
        finally:
            engine.close()


@contextmanager
def connected(address: str, engines: int) -> Iterator[bool]:
    """A Ray for so many engines of this machine's own, or the cluster at the address, until the end of the block. One
    that this process is connected to already is used, and stays. Says whether this Ray was started for the engines.

    Raises UserError where Ray is not installed, or there is no cluster at the address, or one of another version.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(f"--cluster ray: Ray is not installed; {INSTALL}") from None
    if ray.is_initialized():
        yield False
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        os.environ.setdefault("RAY_worker_niceness", "0")  # by default, engines would wait for everything else
        settings |= {"include_dashboard": False, "num_cpus": usable_cores() + engines * _threads(engines)}
    else:
        _check_address(address)
    try:
        with _own_signal_handlers():
            ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--cluster ray:{address}: {first_line(error)}; Ray {ray.__version__} needs the same version there, and"
            " its token (RAY_AUTH_MODE=token on both sides)"
        ) from None
    try:
        yield address == LOCAL
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raises UserError where nothing listens there: Ray would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdecimal():
        return  # "auto"
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--cluster ray:{address}: nothing answers there ({error})") from None


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Inside, a library may set handlers for what ends this process; outside they are ours again."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        with suppress(ValueError):  # elsewhere than in the main thread nobody may set them
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _check_installation(ray: Any) -> None:
    """Raises UserError where the cluster's machines have no emocaliber, or another one."""
    try:
        there = ray.get(ray.remote(_version).remote())
    except ray.exceptions.RayError as error:
        raise UserError(
            "the machines of the cluster need emocaliber, of the version here, in the Python that Ray runs there:"
            f" {INSTALL} ({str(error).strip().rpartition(chr(10))[2]})"
        ) from None
    if there != __version__:
        raise UserError(f"the cluster has emocaliber {there}, this is {__version__}: install the same on all machines")


def _version() -> str:
    return __version__


def _threads(engines: int) -> int:
    """Of each of the engines on this machine's CPUs."""
    return max(1, usable_cores() // engines)


def _cpus_each(ray: Any, count: int) -> int:
    """CPUs for each engine that has no GPU, so that each machine keeps one to decode pictures with; Ray gives the
    engine as many threads."""
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cpus = max(1, min(machines) // ceil(count / len(machines)) - 1)
    if cpus * count >= sum(machines):
        raise UserError(
            f"{count} engines leave none of the cluster's {sum(machines)} CPUs to decode pictures; give --data-parallel"
            f" {max(1, sum(machines) - 1)} or fewer"
        )
    return cpus
