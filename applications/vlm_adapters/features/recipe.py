"""Everything that some image features depend on, and its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .._files import json_hash

__all__ = ["SCHEMA", "Recipe"]

SCHEMA = 2


@dataclass(frozen=True)
class Recipe:
    """Everything that some image features depend on.

    Attributes:
        dataset: Name of the data set.
        split: Hash of its split.
        view: Preprocessing or augmentation, with its seeds.
        backbone: The backbone's fingerprint: weights, preprocessing, package versions.
        libraries: Versions of the packages that decode and compute.
        paths: Images below the image folder, in order.
        contents: Hashes of their bytes, so that an exchanged or edited file is noticed.
        labels: Their classes.
    """

    dataset: str
    split: str
    view: Mapping[str, Any]
    backbone: Mapping[str, str]
    libraries: Mapping[str, str]
    paths: tuple[str, ...]
    contents: tuple[str, ...]
    labels: tuple[int, ...]

    def base(self) -> dict[str, Any]:
        """All but the images: entries with one base may stand for each other's images."""
        return {
            "schema": SCHEMA,
            "dtype": "float32",
            "dataset": self.dataset,
            "split": self.split,
            "view": dict(self.view),
            "backbone": dict(self.backbone),
            "libraries": dict(self.libraries),
        }

    def fingerprint(self) -> str:
        """SHA-256 over everything."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return json_hash([self.base(), self.paths, self.contents, self.labels])

    @property
    def folder(self) -> str:
        """Name of the entry's folder."""
        return f"{self.dataset}-{self.view['kind']}-{self.fingerprint()[:16]}"
