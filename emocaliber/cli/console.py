"""Other libraries' notices, which say nothing about the user's command, are not printed; errors are.

silence_libraries()
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LIBRARIES = ("accelerate", "bitsandbytes", "datasets", "huggingface_hub", "kernels", "peft", "torch", "torchao",
             "transformers", "trl", "vllm")  # fmt: skip
VARIABLES = {"TRANSFORMERS_VERBOSITY": "error", "VLLM_LOGGING_LEVEL": "ERROR", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
             "TOKENIZERS_PARALLELISM": "false"}  # fmt: skip
"""What the libraries read when they are imported; a value that is set already stays."""


def silence_libraries() -> None:
    """Before they are imported: no warnings and no log lines below an error. Warnings of this project are shown."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that the function it yields replaces; square brackets are shown as they are."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda now: status.update(Text(now))
