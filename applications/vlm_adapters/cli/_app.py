"""The application: errors in one line, exit codes, progress bars."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, ParamSpec

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Adapters for vision-language models, with and without homology consistency.",
)  # fmt: skip
errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

P = ParamSpec("P")
KEPT = "What was done is kept: the same command goes on from there."
NOT_KEPT = "The command keeps nothing before its end."
USAGE, FAILURE, INTERRUPTED = 2, 1, 130


class Interrupted(Exception):
    """Ctrl-C; says what is kept."""


class UsageError(Exception):
    """What the user asked for cannot be done as asked."""


def run() -> NoReturn:
    """Run the command line; errors are one line, exit code 2 for usage and 1 for failure."""
    torch.set_flush_denormal(True)  # saturated softmax gradients are denormal, and slow
    try:
        app(prog_name="vlm-adapters")
    except UsageError as error:
        _stop(str(error), USAGE)
    except Interrupted as interrupted:
        _stop(f"Interrupted. {interrupted}", INTERRUPTED)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
        _stop(str(error), FAILURE)
    sys.exit(0)


def _stop(message: str, code: int) -> NoReturn:
    """One line on standard error, and the exit code."""
    errors.print(f"Error: {' '.join(message.split())}")
    sys.exit(code)


def command(
    name: str, group: typer.Typer = app, *, resumes: bool = False
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Adds a function to the commands; Ctrl-C within it is told in our words, not typer's.

    Args:
        name: Of the command.
        group: Application or group of commands.
        resumes: Whether the same command goes on from where it was interrupted.

    Returns:
        A decorator.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except KeyboardInterrupt:
                raise Interrupted(KEPT if resumes else NOT_KEPT) from None

        group.command(name)(wrapped)
        return wrapped

    return decorate


@app.callback()
def _group() -> None:
    """Keeps the name of a command obligatory."""


@contextmanager
def as_usage() -> Iterator[None]:
    """Errors in what the user wrote are errors of usage."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error


def numbers(option: str, text: str) -> list[int]:
    """A comma list of positive whole numbers, each once."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1 or len(set(found)) < len(found):
        raise UsageError(
            f"`{option}` should be a comma list of distinct positive numbers. Got {text!r}."
        )
    return found


def writable_folder(
    path: Path, requirement: str = "should be a folder", option: str = "--out"
) -> Path:
    """Make a folder, and try to write into it, before the work begins."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise UsageError(f"`{option}` {requirement}. Got {path}: {error.strerror}.") from None


def writable_file(path: Path, option: str = "--out") -> Path:
    """Refuse a file that cannot be written, before the work begins."""
    if path.is_dir():
        raise UsageError(f"`{option}` should be a file. Got {path}, a folder.")
    writable_folder(path.parent, "should lie in a writable folder", option)
    return path


def _bars() -> Progress:
    """Bars with what is done of how much, and the time."""
    return Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; call it with how many steps are done."""
    with _bars() as bar:
        task = bar.add_task(what, total=total)

        def advance(steps: int = 1, total: int | None = None) -> None:
            bar.update(task, advance=steps, total=total)

        yield advance


@contextmanager
def image_progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar for each entry of features; called with images done and images in all."""
    with _bars() as bar:
        tasks: list[TaskID] = []
        before = left = 0

        def show(done: int, total: int) -> None:
            nonlocal before, left
            if left == 0 or done <= before:  # an entry begins
                tasks.append(bar.add_task("images", total=total))
            before, left = done, total - done
            bar.update(tasks[-1], completed=done)

        yield show
