"""For every test: under EMOCALIBER_NO_SKIPS=1, which .ci/run sets, a skipped test is a failed one."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from importlib.util import find_spec

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.core.fake_hub import hub  # noqa: F401  (a fixture for every test)

settings.register_profile("untimed", deadline=None)  # no test measures time: a machine under load fails none
settings.load_profile("untimed")

# Before anything imports torch: pytest's processes share the cores, and a data worker that is forked beside the threads
# of OpenMP that earlier tests have left can wait for them for ever.
os.environ.setdefault("OMP_NUM_THREADS", "1")

NO_SKIPS = os.environ.get("EMOCALIBER_NO_SKIPS") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked gpu are collected only where there is a GPU: without one they are no skipped tests."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        items[:] = [item for item in items if item not in on_gpu]
        config.hook.pytest_deselected(items=on_gpu)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if NO_SKIPS and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped, and EMOCALIBER_NO_SKIPS=1: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if NO_SKIPS and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped, and EMOCALIBER_NO_SKIPS=1: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is learnt of pictures is kept apart from the user's."""
    os.environ["EMOCALIBER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def vllm_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """To be asked for by every file that starts vLLM: one at a time, as the processes of the tests share the cores."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: `make test` installs its CPU build beside a +cpu build of torch only")
    with FileLock(tmp_path_factory.getbasetemp().parent / "vllm.lock"):
        yield


@pytest.fixture(scope="module")
def ray_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """To be asked for by every file that starts Ray: one at a time, as for vLLM."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: `make test` installs it")
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield
