"""A data set: its images in three subsets, read from a file, and CoOp's few-shot draws of them."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import random
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from reprlib import repr as short
from typing import Any, NamedTuple

from .._files import file_sha256, write_text
from ..config import suggestion

SUBSETS = ("train", "val", "test")
COLUMNS = ("path", "label", "subset")  # of tables
MAX_VALIDATION_SHOTS = 4
DEFAULT_TEMPLATES = ("a photo of a {}.",)
TABLES = {".csv": ",", ".tsv": "\t"}
"""Endings of tables, and what separates their columns."""


class Sample(NamedTuple):
    """One image: its path below the image folder and its class."""

    path: str
    label: int


@dataclass(frozen=True)
class Split:
    """Images in three subsets; ``sha256`` is that of their file, or of the listing of folders."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    class_names: tuple[str, ...]
    sha256: str

    def subset(self, name: str) -> tuple[Sample, ...]:
        """Return the images of ``"train"``, ``"val"`` or ``"test"``, in the order of the file."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def paths(self) -> list[str]:
        """Return the path of every image once."""
        return list(dict.fromkeys(sample.path for name in SUBSETS for sample in self.subset(name)))


@dataclass(frozen=True)
class ImageDataset:
    """A split with its image folder, and templates for the names of its classes.

    ``taskres_templates`` has one more for ImageNet. ``classes`` says for a target domain which
    classes of ImageNet its labels 0, 1, 2, ... are, as positions in ``classnames.txt``.
    """

    name: str
    images: Path
    split: Split
    templates: tuple[str, ...]
    taskres_templates: tuple[str, ...]
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Raise unless there are templates, each with one ``{}`` for the class name."""
        for given in (self.templates, self.taskres_templates):
            if isinstance(given, str) or {text.count("{}") for text in given} != {1}:
                raise ValueError(
                    "`templates` should be a sequence of one or more strings with one `{}` each, "
                    f"where the class name goes. Got {given!r}."
                )

    @property
    def val_from_train(self) -> bool:
        """Whether validation images have to be drawn from the training images."""
        return bool(self.split.train) and not self.split.val

    def few_shot(self, shots: int, seed: int, *, needed: bool = True) -> FewShot:
        """Draw the rows of a few-shot task, with ``shots`` training images per class.

        If they are not ``needed``, because nothing is trained, there may be none.
        """
        if not self.split.train:
            if not needed:
                return FewShot([], [])
            raise ValueError(
                f"`{self.name}` should have training images. Got a data set that is only a test "
                "set. Train on another, such as imagenet, and evaluate on this one."
            )
        train, val = self._rows
        val_from_train = self.val_from_train
        return draw_task(train, val, shots, seed, val_from_train=val_from_train, val_needed=needed)

    @cached_property
    def _rows(self) -> list[list[list[int]]]:
        """Rows of each class in the training and in the validation images."""
        parts = self.split.train, self.split.val
        return [rows_by_class(sample.label for sample in part) for part in parts]


def check_text(where: str, text: str) -> None:
    """Raise for text that is not UTF-8: names of files may be such, prompts and results not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} should be text in UTF-8. Got {text!a}. Rename it.") from None


def read_split(path: str | os.PathLike[str]) -> Split:
    """Read a split from a file, every entry checked.

    CoOp's JSON holds ``{"train": [[path, label, class name], ...], "val": [...], "test": [...]}``
    with labels 0, 1, 2, .... A table, ``.csv`` or ``.tsv``, has the columns ``path`` and ``label``
    with the name of the class, and may have a column ``subset`` with ``train``, ``val`` and
    ``test``. Without it the images of each class are cut as those of a folder. Paths are relative
    to the image folder.
    """
    file = Path(path)
    entries = (_read_table if file.suffix.lower() in TABLES else _read_json)(file)
    names: dict[int, str] = {}
    subsets = {
        subset: tuple(
            _sample(entry, names, f"`{file.name}`, `{subset}`[{row}],")
            for row, entry in enumerate(entries[subset])
        )
        for subset in SUBSETS
    }
    missing = sorted(set(range(len(names))) - set(names))
    if missing:
        raise ValueError(
            f"`{file.name}` should use the labels 0 to {len(names) - 1} for its {len(names)} "
            f"classes. Got label {max(names)} and no label {missing[0]}. Number the classes "
            "without gaps."
        )
    class_names = tuple(names[label] for label in range(len(names)))
    return Split(**subsets, class_names=class_names, sha256=file_sha256(file))


def _read_json(file: Path) -> dict[str, list[Any]]:
    """Return the entries of each subset, not checked yet."""
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`{file.name}` should be JSON. Got {error}. Download the split again."
        ) from error
    for subset in SUBSETS:
        entries = document.get(subset) if isinstance(document, dict) else None
        if not isinstance(entries, list) or not entries:
            raise ValueError(
                f"`{file.name}` should have a list of one or more images under `{subset}`. "
                f"Got {short(entries)}. Write "
                '{"train": [[path, label, class name], ...], "val": [...], "test": [...]}.'
            )
    return {subset: document[subset] for subset in SUBSETS}


def _read_table(file: Path) -> dict[str, list[Any]]:
    """Return the entries of each subset of a table; labels follow the sorted class names."""
    import pandas

    options = {"sep": TABLES[file.suffix.lower()], "dtype": str, "keep_default_na": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # too many fields
            table = pandas.read_csv(file, index_col=False, **options)
    except (ValueError, pandas.errors.ParserWarning) as error:
        raise ValueError(
            f"`{file.name}` should be a table in UTF-8. Got {error}. Write it again."
        ) from error
    unknown = [name for name in table.columns if name not in COLUMNS]
    if unknown:
        raise ValueError(
            f"`{file.name}` should have no columns but {', '.join(COLUMNS)}. Got {unknown[0]!r}."
            f"{suggestion(unknown[0], COLUMNS)} Rename or remove it."
        )
    if not {"path", "label"} <= set(table.columns) or table.empty or "" in set(table["label"]):
        raise ValueError(
            f"`{file.name}` should have the columns `path` and `label`, perhaps `subset`, and one "
            f"or more rows, each with a label. Got {len(table)} rows of "
            f"{', '.join(table.columns)}. Name the columns in the first line."
        )
    if "subset" not in table:
        by_class = table.groupby("label")["path"]
        table["subset"] = by_class.transform(lambda paths: cut_class(len(paths), paths.name))
    table["subset"] = table["subset"].map(subset_name)
    found = set(table["subset"])
    if "test" not in found or not found <= set(SUBSETS):
        raise ValueError(
            f"`{file.name}` should say train, val or test under `subset`, and test at least once. "
            f"Got {', '.join(sorted(found))}. Write these, or leave the column out with more rows."
        )
    table["number"] = table["label"].rank(method="dense").astype(int) - 1
    return {
        subset: table.loc[table["subset"] == subset, ["path", "number", "label"]].values.tolist()
        for subset in SUBSETS
    }


def subset_name(text: str) -> str:
    """Return ``train``, ``val`` or ``test`` for other ways to write it, and other words as is."""
    aliases = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
    return aliases.get(text.lower(), text.lower())


def cut_class(count: int, class_name: str) -> list[str]:
    """Draw the subset of each image of one class: 30 % for testing, 20 % for validation, rounded.

    At least one is for training. Every class has its own stream: a new class does not change how
    the others are cut.
    """
    test = min(round(count * 0.3), count - 1)
    val = min(round(count * 0.2), count - 1 - test)
    order = list(range(count))
    random.Random(f"1 {class_name}").shuffle(order)
    subsets = ["train"] * count
    for place, row in enumerate(order[: test + val]):
        subsets[row] = "test" if place < test else "val"
    return subsets


def listed_split(
    train: Iterable[Sample],
    val: Iterable[Sample],
    test: Iterable[Sample],
    class_names: Iterable[str],
) -> Split:
    """Return a split that no file holds; its hash is that of its images and class names."""
    split = Split(tuple(train), tuple(val), tuple(test), tuple(class_names), "")
    digest = hashlib.sha256()
    for name in split.class_names:
        digest.update(f"class\0{name}\n".encode())
    for subset in SUBSETS:
        for path, label in split.subset(subset):
            digest.update(f"{subset}\0{label}\0{path}\n".encode())
    return replace(split, sha256=digest.hexdigest())


def _sample(entry: Any, names: dict[int, str], where: str) -> Sample:
    """Check one entry and note its class name."""
    match entry:
        case [str(path), int(label), str(name)] if not isinstance(label, bool):
            pass
        case _:
            raise ValueError(f"{where} should be [path, label, class name]. Got {short(entry)}.")
    check_text(where, path + name)
    for flavour in (PurePosixPath(path), PureWindowsPath(path)):
        if not flavour.parts or flavour.anchor or ".." in flavour.parts:
            raise ValueError(
                f"{where} should have a path below the image folder. Got {path!r}. "
                "Write it relative to the folder, without `..`."
            )
    if names.setdefault(label, name) != name:
        raise ValueError(
            f"{where} should name class {label} as before, {names[label]!r}. Got {name!r}. "
            "Give each class one label and one name."
        )
    return Sample(posixpath.normpath(path), label)


# CoOp's few-shot sampler, draw for draw, and its draws as files


@dataclass(frozen=True)
class FewShot:
    """Rows of a few-shot task; those of ``val`` count training images if ``val_from_train``."""

    train: list[int]
    val: list[int]
    val_from_train: bool = False


def rows_by_class(labels: Iterable[int]) -> list[list[int]]:
    """Return the rows of each class, in order of first appearance.

    Classes are never sorted: in some splits the labels do not come in order, and sorting them
    would change every draw.
    """
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        found[int(label)].append(row)  # int(): each element of a tensor would be another key
    return list(found.values())


def draw_rows(classes: Iterable[list[int]], shots: int, generator: random.Random) -> list[int]:
    """Draw ``shots`` rows per class, or all of a smaller class, as CoOp's code (Dassl) does.

    >>> draw_rows([[0, 1, 2], [3, 4]], 1, random.Random(1))
    [0, 3]
    """
    if shots < 1:
        raise ValueError(f"`shots` should be 1 or more. Got {shots}.")
    drawn = (generator.sample(rows, shots) if len(rows) >= shots else rows for rows in classes)
    return [row for rows in drawn for row in rows]


def draw_task(
    train_rows: Sequence[list[int]],
    val_rows: Sequence[list[int]],
    shots: int,
    seed: int,
    *,
    val_from_train: bool = False,
    val_needed: bool = True,
) -> FewShot:
    """Draw the few-shot training set and its validation set, at most 4 rows per class.

    Both come from one stream, training first, as in CoOp after ``random.seed(seed)``; the global
    generator is left alone. The rows are those of each class. ``val_from_train`` draws validation
    rows from the training rows that are left, for data sets without a validation split such as
    ImageNet: this is ours, CoOp validates ImageNet on its test images. None may be left for them
    if they are not needed.

    >>> draw_task([[0, 1], [2, 3]], [[0], [1, 2]], shots=1, seed=1)
    FewShot(train=[0, 2], val=[0, 1], val_from_train=False)
    """
    generator = random.Random(seed)
    val_shots = min(shots, MAX_VALIDATION_SHOTS)
    train = draw_rows(train_rows, shots, generator)
    if not val_from_train:
        return FewShot(train, draw_rows(val_rows, val_shots, generator))
    drawn = set(train)
    left = [[row for row in rows if row not in drawn] for rows in train_rows]
    left = sorted(filter(None, left))  # by first appearance among the rows that are left
    if not left and val_needed:
        fewer = "take fewer shots, " if shots > 1 else ""
        raise ValueError(
            "`shots` should leave training images of some class for validation. Got "
            f"{shots}, and no class with more than {max(map(len, train_rows))} training images. "
            f"Add images to a class, {fewer}or put images for validation into a folder `val`, or "
            "under the subset `val` of the split."
        )
    return FewShot(train, draw_rows(left, val_shots, generator), val_from_train=True)


def indices_hash(indices: Sequence[int]) -> str:
    """Return the first 16 digits of the SHA-256 of the JSON text of a list of rows.

    >>> indices_hash([0, 2])
    '63cbaf561c188d36'
    """
    text = json.dumps([int(index) for index in indices])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_index_list(
    folder: Path, drawn: FewShot, shots: int, seed: int, dataset: str, split_sha256: str
) -> None:
    """Write the rows of a task, with their hashes and that of the split in which they count.

    A list of other rows, to which other results belong, is not replaced. A damaged one is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": "vlm_adapters.index_list",
        "schema_version": 1,
        "dataset": dataset,
        "shots": shots,
        "seed": seed,
        "split_sha256": split_sha256,
        "val_from_train": drawn.val_from_train,
        "train_hash": indices_hash(drawn.train),
        "val_hash": indices_hash(drawn.val),
        "train": drawn.train,
        "val": drawn.val,
    }
    file = folder / f"{dataset}-{shots}shot-seed{seed}.json"
    try:
        found = json.loads(file.read_bytes())
        whole = all(indices_hash(found[name]) == found[f"{name}_hash"] for name in ("train", "val"))
    except (OSError, LookupError, TypeError, ValueError, OverflowError, RecursionError):
        whole = False
    if whole and found != document:
        raise ValueError(
            f"`{file}` should hold the rows of this task. Got those of another split or draw, "
            "to which other results belong. Choose another folder."
        )
    write_text(file, json.dumps(document) + "\n")
