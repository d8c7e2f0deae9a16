"""vLLM's engine taken step by step: several calls share its batches, each answer is told as it grows, and its processes
end when the process that started them has ended.

Not an engine. `LLM.generate` answers one call at a time, so that the batch runs empty while the last answers of a call
are finished. Here whichever thread waits takes the next step, for all calls. vLLM ends its processes from an exit
handler, which SIGKILL does not run and a core in the middle of a step does not hear; what is left then holds the GPU's
memory. Both are started by multiprocessing from a function of vLLM's: it is wrapped.

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
LOOK = 0.005  # seconds between two looks of a call whose answers another thread's steps bring
_run_engine_core, _run_worker = EngineCoreProc.run_engine_core, WorkerProc.worker_main


@dataclass
class _Call:
    """The requests of one call, the last output of each, and those that are not finished, by vLLM's name for them."""

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
    """Answers the calls of several threads with one vLLM engine, in its common batches."""

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
        """The prompts' outputs, in order, as `LLM.generate` gives them; `on_text` hears each one's number and text so
        far. Where it returns False, the answer is broken off: its output is the last that came, not finished.
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
                    call.done.wait(LOOK)
        finally:
            if call.unfinished:  # this thread was interrupted: nobody waits for these any more
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
        """Prompts and pictures as the engine takes them: the costly part, while another call is stepped.

        Calls wait in the order in which they are rendered: vLLM's two caches of pictures must see them alike.
        """
        parsed = [parse_model_prompt(self._engine.model_config, prompt) for prompt in prompts]
        renderer = self._engine.renderer
        with self._rendering:
            inputs = list(renderer.render_cmpl(parsed, renderer.default_cmpl_tok_params))
            call = _Call(inputs, parameters, lora, on_text)
            self._waiting.append(call)
        return call

    def _step(self) -> None:
        """Hand over what waits, take one step, and give each output to its call."""
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
        except Exception as error:  # what is wrong with one call is its own
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
        goes_on = call.on_text is None or call.on_text(number, output.outputs[0].text)
        if not output.finished and goes_on:
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
