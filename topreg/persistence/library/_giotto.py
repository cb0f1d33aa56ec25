"""giotto-ph in another process, where Ctrl-C can end it.

giotto-ph holds the interpreter's lock until it ends. In this process, neither other threads nor
signal handlers would run during a long search.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import torch

LONG = 1 << 25  # a search of so many operations (edges times vertices^dimension) leaves the process
SERVER = """
import pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this one
questions, answers, sys.stdout = sys.stdin.buffer, sys.stdout.buffer, sys.stderr
sys.path[:] = pickle.load(questions)
from gph import ripser_parallel
while True:
    try:
        question = pickle.load(questions)
    except EOFError:
        break
    pickle.dump(ripser_parallel(**question)["dgms"], answers)
    answers.flush()
"""


def giotto(ranks: Any, dimension: int, operations: int) -> Any:
    """Return giotto-ph's diagrams of a matrix of ranks in the dimensions 0 to ``dimension``."""
    options = {
        "X": ranks,
        "metric": "precomputed",
        "maxdim": dimension,
        "coeff": 2,
        "n_threads": torch.get_num_threads(),
    }
    if operations < LONG:
        from gph import ripser_parallel

        return ripser_parallel(**options)["dgms"]
    return _server.answer(options)


class _Server:
    """A process that starts with the first question, and ends with this process or a signal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, question: dict[str, Any]) -> Any:
        """Return the diagrams for the options of giotto-ph."""
        with self._lock:
            try:
                process = self._running()
                pickle.dump(question, process.stdin)  # type: ignore[arg-type]
                process.stdin.flush()  # type: ignore[union-attr]
                # safe to load: no one else writes into this pipe
                return pickle.load(process.stdout)  # type: ignore[arg-type]
            except (EOFError, OSError) as error:
                code = self._process.wait() if self._process else None
                raise MemoryError(
                    "`points` should be few enough for giotto-ph. Its process ended with exit code "
                    f"{code}. Choose landmarks with `farthest_point_sampling`, or use "
                    '`engine="gudhi"`.'
                ) from error
            finally:
                if sys.exc_info()[0] is not None:
                    self.end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.end()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            pickle.dump(sys.path, self._process.stdin)  # type: ignore[arg-type]
        return self._process

    def end(self) -> None:
        """End the process if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_server = _Server()
atexit.register(lambda: _server.end())


def _forget() -> None:
    """Forget the process after a fork, since it belongs to the parent."""
    global _server
    _server = _Server()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
