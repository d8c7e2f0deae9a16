"""Engines on Ray: one process each, on this machine or on all of a cluster's, fed from one run that writes the answers.

Not shards, and no checkpoint of its own: the run reads the pictures, knows which are answered, and keeps the journal.
Pictures are decoded by Ray's tasks, on whichever CPUs are free, and answered by its actors, of which each takes a call
as soon as it has room for it. An engine process that dies is built anew, and its calls are asked again: a call that has
died alone is an engine error, since it would end one process after the other.

    with engines_on_ray("local", build, count=2) as engine:                  # emocaliber.generation.ray_cluster
        list(respond(samples, engine, template, journal=journal))
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Condition, Lock, Thread
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.stopping import end_with_parent
from emocaliber.generation.engine import ENGINE_ERROR, Engine, Request, Response
from emocaliber.generation.questions import Question, RemoteEngine, prepared

LANES = 16  # calls that an engine process could take at once; the engine's own `concurrency` says how many it gets
STARTS = 3
"""An engine process that ends so often before it is ready is not started again."""


@dataclass
class _Place:
    """An engine process, seen from here: the calls that it is answering, and whether one of them is to be alone."""

    actor: Any
    under_way: int = 0
    alone: bool = False
    gone: bool = False


class RayEngine(RemoteEngine):
    """`count` engines, each built by `build` (picklable) in a process of its own, with a GPU each where `gpus`.

    Calls go to the engines that are ready: the first answers while others are still being built, on machines that may
    come later. `place` says where they are; `name` is that of each engine: how many of them answer changes nothing in a
    journal. Raises UserError where an engine cannot be built. `answer` raises UserError once no engine process is left.
    """

    def __init__(self, build: Callable[[], Engine], count: int, *, gpus: bool, cpus: int) -> None:
        import ray

        self._ray = ray
        self.place = f"{count} {'engine' if count == 1 else 'engines'}, {'a GPU' if gpus else f'{cpus} CPU'} each"
        self._actors = ray.remote(max_concurrency=LANES, num_gpus=int(gpus), num_cpus=cpus)(_Answering)
        self._prepare = ray.remote(scheduling_strategy="SPREAD")(_prepare)
        self._build = build
        self._places: list[_Place] = []
        self._change = Condition()
        self._starting, self._reason, self._closed = count, "", False
        for _ in range(count):
            Thread(target=self._start, daemon=True).start()
        with self._change:
            self._change.wait_for(lambda: self._places or not self._starting)
        if not self._places:
            raise UserError(self._reason)
        self.concurrency = (self._in_flight + 1) * count  # one more is being decoded

    def answer(self, questions: Sequence[Question]) -> list[Response]:
        """One response for each question, in order."""
        if not questions:
            return []
        requests = self._prepare.remote(list(questions))
        for alone in (False, True):
            place = self._take(alone=alone)
            try:
                responses: list[Response] = self._ray.get(place.actor.answer.remote(requests))
            except self._ray.exceptions.RayActorError as error:
                self._give_up(place)
                reason = f"two engine processes ended ({first_line(error)})"
            except self._ray.exceptions.RayError as error:
                self._give_back(place)
                reason = first_line(getattr(error, "cause", None) or error)
                break
            else:
                self._give_back(place)
                return responses
        return [
            Response(question.sample_id, "", ENGINE_ERROR, choices=(None,) * len(question.choices), error=reason)
            for question in questions
        ]

    def processes(self) -> list[int]:
        """The engine processes that are ready, by their ids on their machines."""
        with self._change:
            actors = [place.actor for place in self._places]
        return [int(number) for number in self._ray.get([actor.process.remote() for actor in actors])]

    def close(self) -> None:
        """Start no engine any more."""
        self._closed = True

    def _take(self, *, alone: bool) -> _Place:
        """The engine with the fewest calls, once one has room; where it is to be `alone`, once it has no other."""
        with self._change:
            while True:
                self._change.wait_for(lambda: self._with_room() or not (self._places or self._starting))
                if not (room := self._with_room()):
                    raise _none_left(self._reason)
                place = min(room, key=lambda place: place.under_way)
                place.alone = alone
                while alone and place.under_way and not place.gone:
                    self._change.wait()
                if not place.gone:
                    place.under_way += 1
                    return place

    def _with_room(self) -> list[_Place]:
        return [place for place in self._places if place.under_way < self._in_flight and not place.alone]

    def _give_back(self, place: _Place) -> None:
        with self._change:
            place.under_way -= 1
            place.alone = False
            self._change.notify_all()

    def _give_up(self, place: _Place) -> None:
        """The process is gone, or out of reach: another takes its place, once for all of its calls."""
        with self._change:
            if not place.gone:
                place.gone = True
                self._places.remove(place)
                self._starting += 1
                print("an engine process ended: another is started, its calls are asked again", file=sys.stderr)
                Thread(target=self._start, daemon=True).start()
            self._change.notify_all()
        self._ray.kill(place.actor)

    def _start(self) -> None:
        """Build an engine, wherever Ray finds room for it; the last reason why it failed is kept."""
        place, reason = None, ""
        for _ in range(STARTS):
            if self._closed:
                break
            actor = self._actors.remote(self._build)
            try:
                name, in_flight, size = self._ray.get(actor.description.remote())
            except self._ray.exceptions.RayActorError as error:
                reason = f"an engine process ended before it was ready ({first_line(error)})"
            except (Exception, SystemExit) as error:  # whatever keeps an engine from being built is said to the user
                reason = first_line(getattr(error, "cause", None) or error)
                break
            else:
                place = _Place(actor)
                break
        with self._change:
            self._starting -= 1
            self._reason = reason or self._reason
            if place is not None:
                self.name, self._in_flight, self.requests_per_call = name, min(in_flight, LANES), size
                self._places.append(place)
            elif not self._closed and self._places:
                print(f"one engine fewer: {reason}", file=sys.stderr, flush=True)
            self._change.notify_all()


class _Answering:
    """The engine's process. The first call builds the engine, so that what goes wrong is an answer and no death."""

    def __init__(self, build: Callable[[], Engine]) -> None:
        end_with_parent()  # Ray's own watch takes longer
        self._build, self._building = build, Lock()

    @cached_property
    def _engine(self) -> Engine:
        return self._build()

    def _built(self) -> Engine:
        with self._building:  # calls come from several threads
            return self._engine

    def description(self) -> tuple[str, int, int]:
        engine = self._built()
        return engine.name, engine.concurrency, engine.requests_per_call

    def process(self) -> int:
        return os.getpid()

    def answer(self, asked: Sequence[Request | Response]) -> list[Response]:
        requests = [request for request in asked if isinstance(request, Request)]
        answers = iter(self._built().generate(requests))
        return [next(answers) if isinstance(request, Request) else request for request in asked]


def _prepare(questions: Sequence[Question]) -> list[Request | Response]:
    return [prepared(question) for question in questions]


def first_line(error: BaseException) -> str:
    """What to say of an error in a sentence."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0]


def _none_left(reason: str) -> UserError:
    return UserError(
        f"no engine process is left ({reason}); what they answered is kept, and the same command goes on from there"
    )
