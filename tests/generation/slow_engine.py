"""An engine without a model, for processes of their own: apart from the tests, so that these need not import torch."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from emocaliber.generation.engine import STOP, Request, Response

DEADLY = 21


class Slow:
    """Says in which process it answered, and takes its time; ends that process where the picture is the deadly one."""

    name, concurrency, requests_per_call = "slow", 2, 4

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        time.sleep(0.1)
        if any(request.sample_id == str(DEADLY) for request in requests):
            os._exit(1)
        return [Response(request.sample_id, str(os.getpid()), STOP) for request in requests]
