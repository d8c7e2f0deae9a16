"""Stepping vLLM's engine by hand, so that concurrent calls share its batches and answers can be streamed; and ending
vLLM's processes when the process that started them has ended.

Not an engine. `LLM.generate` answers one call at a time, so that the batch empties while a call's last answers finish.
Here, any waiting thread takes the next step for all calls. vLLM ends its processes from an exit handler, which does not
run on SIGKILL, and which a core in the middle of a step ignores; leftover processes keep the GPU's memory. Engine core
and workers are started by multiprocessing from functions of vLLM's, which are wrapped here.

    end_with_engine()
    steps = Steps(vllm.LLM(...))
    steps.run(prompts, parameters, lora)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.executor.multiproc_executor import WorkerProc

from emocaliber.core.stopping import end_with_parent

OnText = Callable[[int, str], bool]
POLL = 0.005  # seconds between checks of a call while another thread steps the engine
_run_engine_core, _run_worker = EngineCoreProc.run_engine_core, WorkerProc.worker_main


@dataclass
class _Call:
    """One call: its requests, the latest output of each, and vLLM's ids of the unfinished ones."""

    inputs: Sequence[Any]
    parameters: Sequence[SamplingParams]
    lora: LoRARequest | None
    on_text: OnText | None
    outputs: dict[int, Any] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)
    done: Event = field(default_factory=Event)
    error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        self.error = error
        self.done.set()


class Steps:
    """Answers concurrent calls of several threads with one vLLM engine, in shared batches."""

    def __init__(self, llm: LLM) -> None:
        self._llm, self._engine = llm, llm.llm_engine
        self._rendering, self._stepping = Lock(), Lock()
        self._waiting: deque[_Call] = deque()
        self._owners: dict[str, tuple[_Call, int]] = {}

    def run(
        self,
        prompts: Sequence[Any],
        parameters: Sequence[SamplingParams],
        lora: LoRARequest | None,
        on_text: OnText | None = None,
    ) -> list[Any]:
        """The prompts' outputs, in order, as from `LLM.generate`. `on_text` is called with a prompt's number and its
        text so far; where it returns False, the answer is stopped, and its output is the latest, unfinished one.
        """
        if on_text is None:
            for parameter in parameters:
                parameter.output_kind = RequestOutputKind.FINAL_ONLY
        call = self._rendered(prompts, parameters, lora, on_text)
        try:
            while not call.done.is_set():
                if self._stepping.acquire(blocking=False):
                    try:
                        self._step()
                    finally:
                        self._stepping.release()
                else:
                    call.done.wait(POLL)
        finally:
            if call.unfinished:  # this thread was interrupted
                with self._stepping:
                    self._abort(call)
        if call.error is not None:
            raise call.error
        return [call.outputs[number] for number in range(len(prompts))]

    def _rendered(
        self,
        prompts: Sequence[Any],
        parameters: Sequence[SamplingParams],
        lora: LoRARequest | None,
        on_text: OnText | None,
    ) -> _Call:
        """Preprocess prompts and pictures, which is the costly part, while another call's requests are stepped.

        Calls are queued in the order in which they are rendered: vLLM's two picture caches must see the same order.
        """
        parsed = [parse_model_prompt(self._engine.model_config, prompt) for prompt in prompts]
        renderer = self._engine.renderer
        with self._rendering:
            inputs = list(renderer.render_cmpl(parsed, renderer.default_cmpl_tok_params))
            call = _Call(inputs, parameters, lora, on_text)
            self._waiting.append(call)
        return call

    def _step(self) -> None:
        """Add the queued calls' requests, take one step, and pass each output to its call."""
        try:
            while self._waiting:
                self._add(self._waiting.popleft())
            if not self._owners:
                return
            stepped: list[Any] = self._engine.step()
        except Exception as error:
            for call, _ in list(self._owners.values()):
                call.unfinished.clear()
                call.end(error)
            self._owners.clear()
            raise
        for output in stepped:
            self._take(output)

    def _add(self, call: _Call) -> None:
        try:
            for number, (single, parameter) in enumerate(zip(call.inputs, call.parameters, strict=True)):
                name = str(next(self._llm.request_counter))
                self._engine.add_request(name, single, parameter, lora_request=call.lora)
                self._owners[name] = (call, number)
                call.unfinished.add(name)
        except Exception as error:  # only this call fails
            self._abort(call)
            call.end(error)
            return
        if not call.unfinished:
            call.end()

    def _take(self, output: Any) -> None:
        owner = self._owners.get(output.request_id)
        if owner is None:
            return
        call, number = owner
        call.outputs[number] = output
        wanted = call.on_text is None or call.on_text(number, output.outputs[0].text)
        if not output.finished and wanted:
            return
        if not output.finished:
            self._engine.abort_request([output.request_id], internal=False)
        del self._owners[output.request_id]
        call.unfinished.discard(output.request_id)
        if not call.unfinished:
            call.end()

    def _abort(self, call: _Call) -> None:
        self._engine.abort_request(list(call.unfinished), internal=False)
        for name in call.unfinished:
            self._owners.pop(name, None)
        call.unfinished.clear()


def end_with_engine() -> None:
    """Call this before making an engine; `run_engine_core` calls it again in the core's process."""
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
