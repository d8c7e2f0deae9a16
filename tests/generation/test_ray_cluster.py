"""A Ray that cannot be used is named in one sentence, at once."""

from __future__ import annotations

import signal
from importlib.util import find_spec

import pytest

from emocaliber.core.errors import UserError
from emocaliber.generation import ray_cluster
from emocaliber.generation.ray_cluster import _cpus_each, _own_signal_handlers, connected


class Machines:
    """What Ray says of a cluster, CPUs by machine."""

    def __init__(self, *cpus: int) -> None:
        self._cpus = cpus

    def nodes(self) -> list[dict[str, object]]:
        dead: dict[str, object] = {"Alive": False, "Resources": {}}
        return [*({"Alive": True, "Resources": {"CPU": float(cpus)}} for cpus in self._cpus), dead]


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999999"])
def test_a_cluster_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(UserError, match=f"--cluster ray:{address}: nothing answers there"), connected(address, 1):
        pass


def test_every_machine_without_gpus_keeps_a_cpu_to_decode_pictures() -> None:
    assert _cpus_each(Machines(16), 1) == 15
    assert _cpus_each(Machines(16), 4) == 3
    assert _cpus_each(Machines(8, 8, 16), 3) == 7
    assert _cpus_each(Machines(2, 2), 2) == 1
    with pytest.raises(UserError, match=r"leave none of the cluster's 4 CPUs .* --data-parallel 3 or fewer"):
        _cpus_each(Machines(2, 2), 4)


def test_engines_of_this_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "usable_cores", lambda: 8)
    assert [ray_cluster._threads(count) for count in (1, 2, 3, 8, 9)] == [8, 4, 2, 1, 1]


def test_signals_stay_ours() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _own_signal_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
