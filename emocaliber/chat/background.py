"""Asking about a gallery's pictures while people answer already, so that what needs a look comes first by itself.

asking = BackgroundAsking(gallery, choice, batcher)
asking.start()                          # returns at once; again where pictures are left
gallery.turns                           # grows
"""

from __future__ import annotations

import asyncio
import threading

from emocaliber.chat.batching import Batcher, BusyError
from emocaliber.chat.gallery import Gallery
from emocaliber.chat.model import ModelChoice
from emocaliber.runs.doubt import Looking

PAUSE = 1.0
"""Seconds to wait where other users fill the queue."""


class BackgroundAsking:
    """One thread, which asks about every picture that nobody asked about yet. `problem` says why it ended early."""

    def __init__(self, gallery: Gallery, choice: ModelChoice, batcher: Batcher, look: Looking | None = None) -> None:
        self._gallery, self._choice, self._batcher, self._look = gallery, choice, batcher, look
        self._thread: threading.Thread | None = None
        self.problem = ""

    @property
    def running(self) -> bool:
        """Whether pictures are being asked about."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Ask about what is left, unless that is under way or has failed."""
        if not self.running and not self.problem and self._left():
            self._thread = threading.Thread(target=self._run, name="gallery", daemon=True)
            self._thread.start()

    def _left(self) -> list[str]:
        return [name for name in self._gallery.names if name not in self._gallery.turns]

    def _run(self) -> None:
        try:
            asyncio.run(self._ask())
        except Exception as error:  # the engine broke: people can answer all the same
            self.problem = f"The model failed: {error}."

    async def _ask(self) -> None:
        while left := self._left():
            try:
                parts = self._gallery.ask(self._choice, self._batcher, self._choice.labels, only=left, look=self._look)
                async for _ in parts:
                    pass
            except BusyError as busy:
                if self._batcher.failure:
                    self.problem = f"{busy}."
                    return
                await asyncio.sleep(PAUSE)
