"""Calls in a child process, which is ended when one takes too long or too much memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

POLL = 0.02  # seconds between two looks at the child
SETUP = 300  # seconds for imports, input and compilation, which do not count as the call
RESTART = 2.0  # gigabytes after which the child is replaced, whatever it still holds

Prepare = Callable[..., Callable[[], Any]]


class Outcome(NamedTuple):
    """What became of a call: its time and value, or why there is none."""

    seconds: float
    value: Any
    failure: str


class Guard:
    """Runs prepared calls in one child, one after the other; a new child after each failure.

    The memory is the peak of resident pages of the whole child, as Linux reports it.
    """

    def __init__(self, seconds: float = 60.0, gigabytes: float = 8.0) -> None:
        self.seconds = seconds
        self.gigabytes = gigabytes
        self._child: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, prepare: Prepare, *arguments: object, keep: bool = False) -> Outcome:
        """Time ``prepare(*arguments)()``, what ``prepare`` does not included."""
        if self._child is None:
            self._start()
        pipe = self._pipe
        assert pipe is not None
        try:
            pipe.send((prepare, arguments, keep))
            outcome = self._wait(pipe, SETUP, "setup")
            if outcome is None:
                outcome = self._wait(pipe, self.seconds, "call") or Outcome(0, None, "crash")
        except (EOFError, OSError):
            outcome = Outcome(0, None, "crash")
        if outcome.failure[:1] in (">", "c") or peak_gigabytes(self._child.pid) > RESTART:
            self.stop()
        return outcome

    def stop(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._child = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._child = context.Process(target=_serve, args=(end,), daemon=True)
        self._child.start()
        end.close()

    def _wait(self, pipe: Connection, limit: float, stage: str) -> Outcome | None:
        """The child's next message, None if it says that the call begins."""
        end = time.perf_counter() + limit
        while not pipe.poll(POLL):
            if peak_gigabytes(self._child.pid) > self.gigabytes:
                return Outcome(0, None, f"> {self.gigabytes:g} GB")
            if time.perf_counter() > end:
                return Outcome(0, None, f"> {limit:g} s{'' if stage == 'call' else ' to set up'}")
        message = pipe.recv()
        return None if message is None else Outcome(*message)


def peak_gigabytes(pid: int | str = "self") -> float:
    """Peak resident memory of a process; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return 0.0


def _serve(pipe: Connection) -> None:
    """The child: prepare, say so, call, answer."""
    with contextlib.suppress(EOFError):
        while True:
            prepare, arguments, keep = pipe.recv()
            try:
                call = prepare(*arguments)
                pipe.send(None)
                start = time.perf_counter()
                value = call()
                seconds = time.perf_counter() - start
                answer = (seconds, value if keep else None, "")
            except Exception as error:  # whatever another library raises
                answer = (0.0, None, f"error: {type(error).__name__}")
            pipe.send(answer)
