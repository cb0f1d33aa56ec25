"""``weights convert``: OpenAI's archives to safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..weights import convert_weights
from . import app, as_usage, command, writable_file

weights = typer.Typer(help="Files of weights.", no_args_is_help=True)
app.add_typer(weights, name="weights")


@command("convert", weights)
def convert(
    source: Annotated[Path, typer.Argument(help="OpenAI's TorchScript archive or a .pt file.")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write.")],
) -> None:
    """Convert a TorchScript archive, which holds code: only one that you trust."""
    with as_usage():
        convert_weights(source, writable_file(target, "TARGET"))
    typer.echo(f"Wrote {target}. Use it as open_clip/MODEL/{target}.")
