"""The command line: errors in one line, exit codes, progress bars; its commands are the modules.

These import what takes long within the commands, so that the help answers at once.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from ..plugs import telling_parts

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
log = logging.getLogger("vlm_adapters")  # of all modules

P = ParamSpec("P")
KEPT = "What was done is kept: the same command goes on from there."
NOT_KEPT = "The command keeps nothing before its end."
USAGE, FAILURE, INTERRUPTED = 2, 1, 130
PARSING: Any = typer.BadParameter.__base__  # click's UsageError, or that of typer's own copy


class UsageError(Exception):
    """What the user asked for cannot be done as asked."""


def run() -> NoReturn:
    """Run the command line; errors are one line, exit code 2 for usage and 1 for failure."""
    log.handlers = [_Notes()]
    log.setLevel(logging.INFO)
    try:
        with telling_parts():
            code = app(prog_name="vlm-adapters", standalone_mode=False)
    except UsageError as error:
        _stop(str(error), USAGE)
    except typer.Abort:
        _stop("Interrupted.", INTERRUPTED)
    except PARSING as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # the help
            sys.exit(USAGE)
        _stop(error.format_message(), USAGE)
    except ModuleNotFoundError as error:
        cure = "" if "pip install" in str(error) else '. Run `pip install "topreg[vlm]"`.'
        _stop(f"{error}{cure}", FAILURE)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        _stop(told(error), FAILURE)
    sys.exit(code or 0)


class _Notes(logging.Handler):
    """Notes and warnings of the modules, one line each on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        kind = "Warning: " if record.levelno >= logging.WARNING else ""
        typer.echo(kind + " ".join(record.getMessage().split()), err=True)


def told(error: Exception) -> str:
    """Return an error's text; for one of the operating system, its reason and its file."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.strerror}{f': {error.filename}' if error.filename else ''}."


def _stop(message: str, code: int) -> NoReturn:
    """Print one line on standard error, and exit."""
    typer.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def command(
    name: str, group: typer.Typer = app, *, resumes: bool = False
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Add a function to the commands of a group; Ctrl-C within it is told in our words.

    ``resumes`` says whether the same command goes on from where it was interrupted.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            import torch

            torch.set_flush_denormal(True)  # saturated softmax gradients are denormal, and slow
            try:
                function(*args, **kwargs)
            except KeyboardInterrupt:
                _stop(f"Interrupted. {KEPT if resumes else NOT_KEPT}", INTERRUPTED)

        group.command(name)(wrapped)
        return wrapped

    return decorate


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"vlm-adapters of topreg {importlib.metadata.version('topreg')}")
        raise typer.Exit


@app.callback()
def _group(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and notes, only results and errors.")
    ] = False,
) -> None:
    """Adapters for vision-language models, with and without homology consistency."""
    if quiet:
        log.setLevel(logging.WARNING)


@contextmanager
def as_usage() -> Iterator[None]:
    """Tell errors in what the user wrote as errors of usage."""
    try:
        with telling_parts():  # code of the user may fail here; that is no usage
            yield
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(told(error)) from error


def _bars() -> Progress:
    """Return progress bars on standard error, if somebody looks at it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console, shown = Console(stderr=True), log.isEnabledFor(logging.INFO)
    return Progress(*columns, console=console, disable=not (shown and console.is_terminal))


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a progress bar, which is called with how many more steps are done, 1 if left out."""
    with _bars() as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps=1: bar.advance(task, steps)


@contextmanager
def image_progress() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar for each entry of features; it is called with images done and in all."""
    with _bars() as bar:

        def show(done: int, total: int) -> None:
            if bar.finished:  # or none has begun
                bar.add_task(f"images {len(bar.tasks) + 1}", total=total)
            bar.update(bar.task_ids[-1], completed=done, total=total)

        yield show


from . import commands, report  # noqa: E402, F401 - they add their commands
