"""vLLM's own processes, the engine core and its workers, made to end when the process that started them has ended.

vLLM ends them from an exit handler, which SIGKILL does not run and a core in the middle of a step does not hear; what
is left then holds the GPU's memory. Both are started by multiprocessing from a function of vLLM's: it is wrapped.

    end_with_engine()
    llm = vllm.LLM(...)
"""

from __future__ import annotations

from typing import Any

from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.executor.multiproc_executor import WorkerProc

from emocaliber.core.stopping import end_with_parent

_run_engine_core, _run_worker = EngineCoreProc.run_engine_core, WorkerProc.worker_main


def end_with_engine() -> None:
    """To be called before an engine is made, in this process and, by `run_engine_core`, in that of the core."""
    EngineCoreProc.run_engine_core = staticmethod(run_engine_core)
    WorkerProc.worker_main = staticmethod(run_worker)


def run_engine_core(*arguments: Any, **named: Any) -> None:
    """The process of the engine core."""
    end_with_parent()
    end_with_engine()
    _run_engine_core(*arguments, **named)


def run_worker(*arguments: Any, **named: Any) -> None:
    """The process of a worker."""
    end_with_parent()
    _run_worker(*arguments, **named)
