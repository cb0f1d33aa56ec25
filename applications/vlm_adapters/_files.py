"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ._optional import require

PIECE = 1 << 20  # bytes of a file hashed at a time


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends without an error.

    Args:
        path: Where the file shall be.

    Yields:
        Where to write it.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8.

    Args:
        path: Where to write.
        text: What to write.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """JSON with an indent.

    Args:
        path: Where to write.
        content: What to write.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """A safetensors file; equal tensors give equal bytes where there is at most one text.

    Args:
        path: Where to write.
        tensors: Tensors by name.
        metadata: Texts by name; safetensors does not fix the order of several.
    """
    save = require("safetensors.torch", extra="vlm").save
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not `save_file`, which makes files that only their owner can read.
    content = save(whole, dict(metadata) if metadata else None)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file.

    Args:
        path: The file.

    Returns:
        Texts and tensors by name.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or of another kind.
    """
    safetensors = require("safetensors", extra="vlm")
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` should be a safetensors file. Got no file.")
    try:
        with safetensors.safe_open(path, framework="pt") as archive:
            names = archive.keys()
            return archive.metadata() or {}, {name: archive.get_tensor(name) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"`{path}` should be a complete safetensors file. Got an error from safetensors: "
            f"{error}. Copy it again, or remove it to have it made anew."
        ) from error


def read_json(path: Path) -> Any:
    """A JSON file.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"`{path}` should be a JSON file. Got no file.") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(
            f"`{path}` should be JSON. Got: {error}. Remove it to have it made anew."
        ) from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    Args:
        path: The file, read piece by piece.

    Returns:
        64 digits.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(PIECE):
            digest.update(block)
    return digest.hexdigest()


def json_hash(content: Any) -> str:
    """SHA-256 of a value's JSON with sorted keys, in hexadecimal digits.

    Args:
        content: What JSON can hold.

    Returns:
        64 digits.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
