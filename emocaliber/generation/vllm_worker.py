"""A vLLM worker extension that reports which of an adapter's modules are not applied.

vLLM applies LoRA to the linear layers that it wraps when it starts, and silently drops weights for all others. Usage,
across processes: `LLM(worker_extension_cls=EXTENSION)`, then `collective_rpc("dropped_modules")`.
"""

from __future__ import annotations

from typing import Any

EXTENSION = f"{__name__}.LoraReport"


class LoraReport:
    """Becomes a base class of vLLM's worker, whose attributes it reads."""

    model_runner: Any

    def dropped_modules(self) -> list[str]:
        """The modules, by vLLM's names, that an adapter has weights for and that are not applied."""
        manager = self.model_runner.lora_manager._adapter_manager
        named = {name for adapter in manager._registered_adapters.values() for name in adapter.loras}
        return sorted(named - set(manager.modules))
