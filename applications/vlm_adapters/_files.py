"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import safetensors

if TYPE_CHECKING:
    from torch import Tensor


UNFINISHED = re.compile(r"\.(.+)\.[0-9]+\.[0-9]+")  # as `whole_file` names files


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path, which is renamed to ``path`` if the block ends without an error."""
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


@contextmanager
def claimed(folder: Path, *files: str) -> Iterator[None]:
    """Claim some files in a folder for this process; a claim ends with its process.

    What a killed process left unfinished of these files is removed.
    """
    lock = filelock.FileLock(folder / f".{files[0]}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"`{folder / files[0]}` should be written by one process at a time. Got one "
            "that another is at work on. Wait until it has ended, or choose another with `--out`."
        ) from None
    try:
        for path in folder.iterdir():
            unfinished = UNFINISHED.fullmatch(path.name)
            if unfinished and unfinished[1] in files and path.is_file():
                path.unlink()
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody waits for it
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON with an indent."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file; equal tensors give equal bytes if there is at most one text."""
    import safetensors.torch

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not `save_file`, which makes files that only their owner can read.
    content = safetensors.torch.save(whole, dict(metadata) if metadata else None)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def read_tensors(
    path: Path, advice: str = "Copy it again, or remove it to have it made anew."
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Open a safetensors file: texts and memory-mapped tensors by name."""
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` should be a safetensors file. Got no file.")
    try:
        with safetensors.safe_open(path, framework="pt") as archive:
            names = archive.keys()
            return archive.metadata() or {}, {name: archive.get_tensor(name) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"`{path}` should be a complete safetensors file. Got an error from safetensors: "
            f"{error}. {advice}"
        ) from error


def read_json(path: Path) -> Any:
    """Read a JSON file; infinity and NaN are not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(
            f"`{path}` should be JSON. Got: {error}. Remove it to have it made anew."
        ) from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} in place of a number")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits; the file is read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def tensors_hash(tensors: Mapping[str, Tensor], start: str = "") -> str:
    """Return the SHA-256 of a text and of tensors with their names, dtypes and shapes."""
    import torch

    digest = hashlib.sha256(start.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def json_hash(content: Any) -> str:
    """Return the SHA-256 of a value's JSON with sorted keys, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
