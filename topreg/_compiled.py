"""Compiled loops: compiling, sharing over threads, and ending them by Ctrl-C.

Python handles signals in the main thread, between two Python instructions. A compiled loop there
would delay them to its end. Long loops therefore run in other threads, while the main thread waits.
If a signal handler raises, the main thread sets a flag that the loops read.
"""

import _thread
import functools
import hashlib
import itertools
import pathlib
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

THREADING_THRESHOLD = 1 << 19  # operations below which a second thread costs more than it saves
LONG = 1 << 26  # loops of so many nanoseconds or more run outside the main thread
HEARTBEAT = 0.1  # seconds between two chances to handle a signal while waiting
GRACE = 0.5  # seconds that loops have to end before an exception is raised all the same

Result = TypeVar("Result")
Halt = NDArray[np.int64]  # one entry; not 0 means that the result is no longer wanted
NEVER: Halt = np.zeros(1, np.int64)


def compiled(function: Callable[..., Any], *, forceinline: bool = False) -> Callable[..., Any]:
    """Compile without the GIL; keep the machine code on disk unless no directory is writable.

    Cached code contains the functions that it calls, but Numba only compares it with the file of
    its own function. Here it is compared with all files of compiled loops, so that an upgrade in
    place never runs old code. ``forceinline`` copies the function into those that call it.
    """
    compile_it: Any = partial(numba.njit, nogil=True, error_model="numpy", forceinline=forceinline)
    try:
        dispatcher = compile_it(cache=True)(function)
        file = dispatcher._cache._cache_file
        file._source_stamp = f"{file._source_stamp} {_sources()}"
    except (RuntimeError, AttributeError):
        # "cannot cache function": read-only installation and read-only home; or another version of
        # numba: better slow than stale
        dispatcher = compile_it()(function)
    if hasattr(dispatcher, "_compile_for_args"):  # not where numba is told to compile nothing
        dispatcher._compile_for_args = _with_signals(dispatcher._compile_for_args)
    return dispatcher  # type: ignore[no-any-return]


# LLVM alone does not inline all small functions; to pass many arguments costs more than their work
inlined = partial(compiled, forceinline=True)


def _with_signals(build: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose callers see Ctrl-C, which LLVM's calls back into Python swallow."""

    def call(*args: Any, **kwargs: Any) -> Any:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            return build(*args, **kwargs)
        raised: list[BaseException] = []

        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                raised.append(error)
                raise

        signal.signal(signal.SIGINT, handle)
        try:
            return build(*args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, handler)
            if raised:
                raise raised[0]

    return call


@functools.cache
def _sources() -> str:
    """Return a digest of the sources of all compiled loops."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parent.rglob("*_kernels.py")):
        digest.update(path.read_bytes())
    digest.update(pathlib.Path(__file__).read_bytes())
    return digest.hexdigest()


def _halted(_typing: Any, halt: Any) -> Any:
    """Return whether a compiled loop should return at once; its result is then undefined.

    The read is atomic, so that the compiler does not move it out of a loop.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        flag = builder.load_atomic(array.data, "monotonic", 8)
        return builder.icmp_signed("!=", flag, flag.type(0))

    return types.boolean(halt), generate


halted = intrinsic(_halted)


def stoppable(work: Callable[[Halt], Result], operations: int) -> Result:
    """Return ``work(halt)``; signals can end it if ``operations``, in nanoseconds, is large.

    Loops that do not read ``halt`` go on in the background after a signal. Threads other than the
    main one never handle signals and do the work themselves.
    """
    if operations >= LONG and threading.current_thread() is threading.main_thread():
        return _watch([work])[0]
    try:
        return work(NEVER)
    except SystemError as error:  # a signal was handled while results became Python objects
        first: BaseException = error
        while isinstance(first, SystemError) and first.__cause__ is not None:
            first = first.__cause__
        if isinstance(first, SystemError):
            raise
        raise first from None


def _watch(tasks: Sequence[Callable[[Halt], Result]]) -> list[Result]:
    """Run each task in a separate thread, while this thread handles signals.

    The threads live for one call, because longer ones would not survive a fork. They are daemons,
    so that a program can end although a library goes on.
    """
    halt, futures = np.zeros(1, np.int64), [Future[Result]() for _ in tasks]
    threads = [
        threading.Thread(target=_fulfil, args=(future, task, halt), daemon=True)
        for future, task in zip(futures, tasks, strict=True)
    ]
    try:
        for thread in threads:
            thread.start()
        while wait(futures, HEARTBEAT).not_done:
            pass
    except BaseException:
        halt[0] = 1
        wait(futures, GRACE)
        raise
    for thread in threads:
        thread.join()
    return [future.result() for future in futures]


def _fulfil(future: Future[Result], task: Callable[[Halt], Result], halt: Halt) -> None:
    """Run a task, and store its result or exception in a future."""
    try:
        future.set_result(task(halt))
    except BaseException as error:
        future.set_exception(error)


def in_threads(work: Callable[[int, int, Halt], Result]) -> list[Result]:
    """Return the results of ``work(thread, threads, halt)`` on torch's number of threads."""
    threads = torch.get_num_threads()

    def part(thread: int) -> Callable[[Halt], Result]:
        return lambda halt: work(thread, threads, halt)

    return _watch([part(thread) for thread in range(threads)])


def over_rows(
    rows: int, work: Callable[[int, int, Halt], object], entries: int = THREADING_THRESHOLD
) -> None:
    """Call ``work(begin, end, halt)`` on consecutive rows, on torch's number of threads.

    If there are few ``entries``, this thread does everything.
    """
    if entries < THREADING_THRESHOLD:
        work(0, rows, NEVER)
        return
    in_threads(lambda thread, of, halt: work(rows * thread // of, rows * (thread + 1) // of, halt))


def over_clouds(
    work: Callable[[int, int, Halt], Result], sizes: list[int], cost: int = 1
) -> list[Result]:
    """Return the results of ``work(first, last, halt)`` for runs of consecutive clouds.

    Runs are spread over torch's number of threads: one that is free takes the next run, since runs
    differ in duration. There are few, because threads take turns at the interpreter's lock between
    them. ``cost`` is the number of operations, about a nanosecond each, per matrix entry.
    """
    entries = sizes[0] * sizes[0] if len(sizes) == 1 else sum([n * n for n in sizes])
    threads, operations = min(torch.get_num_threads(), len(sizes)), cost * entries
    if threads < 2 or operations < THREADING_THRESHOLD:
        return [stoppable(partial(work, 0, len(sizes)), operations)]
    bounds = _equal_shares(sizes, 8 * threads)
    runs = iter(list(enumerate(itertools.pairwise(bounds))))
    found: dict[int, Result] = {}

    def take_runs(halt: Halt) -> None:
        for place, (first, last) in runs:
            if halt[0]:
                break
            found[place] = work(first, last, halt)

    _in_all([take_runs] * threads, operations)
    return [found[place] for place in sorted(found)]


def _in_all(tasks: Sequence[Callable[[Halt], object]], operations: int) -> None:
    """Run every task in a thread; if they are short, run the first in this one."""
    if operations >= LONG:
        _watch(tasks)
        return
    futures = [Future[object]() for _ in tasks[1:]]
    for future, task in zip(futures, tasks[1:], strict=True):
        _thread.start_new_thread(_fulfil, (future, task, NEVER))  # half the time of a Thread
    try:
        stoppable(tasks[0], 0)
    finally:
        for future in futures:
            future.exception()  # waits
    for future in futures:
        future.result()


def _equal_shares(sizes: list[int], shares: int) -> list[int]:
    """Return bounds of shares with about the same number of matrix entries."""
    total = sum(n * n for n in sizes)
    bounds, seen = [0], 0
    for cloud, n in enumerate(sizes):
        seen += n * n
        if seen * shares >= total * len(bounds) and len(bounds) < shares:
            bounds.append(cloud + 1)
    return [*bounds, len(sizes)] if bounds[-1] < len(sizes) else bounds
