"""A table of the paper as sweeps."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..cli._app import UsageError
from ..config import lineage
from ..inputs import FeatureInputs, ImageInputs
from ..sweep import Sweep

ELEVEN = (
    "imagenet", "caltech101", "dtd", "eurosat", "fgvc_aircraft", "oxford_flowers", "food101",
    "oxford_pets", "stanford_cars", "sun397", "ucf101",
)  # fmt: skip
SHOTS = (1, 2, 4, 8, 16)
CLIP = "open_clip/{model}/openai"


@dataclass(frozen=True)
class Variant:
    """A sweep of a plan: a folder, methods, and what they change.

    Attributes:
        folder: Below the output folder.
        presets: Methods.
        overrides: ``preset.section.key=value`` each.
        model: CLIP's model, which stands for ``{model}`` in ``--backbone``.
    """

    folder: str
    presets: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    model: str = "RN50"


@dataclass(frozen=True)
class Plan:
    """A table of the paper.

    Attributes:
        table: Its number.
        variants: Sweeps.
        datasets: Data sets.
        shots: Shot counts.
        targets: Data sets to which the adapters are taken.
    """

    table: int
    variants: tuple[Variant, ...]
    datasets: tuple[str, ...] = ("imagenet",)
    shots: tuple[int, ...] = SHOTS
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What the command line chose.

    Attributes:
        inputs: Features, but for the data set and the backbone.
        root: Folder that holds the data sets.
        out: Folder of runs and report.
        backbone: With ``{model}`` where a plan's models stand.
        seeds: Seeds.
        tuned: Tuned values, with ``{dataset}`` where names of data sets stand.
        overrides: ``preset.section.key=value`` each.
        every: Whether to evaluate every protocol.
    """

    inputs: FeatureInputs
    root: Path | None
    out: Path
    backbone: str = CLIP
    seeds: tuple[int, ...] = (1, 2, 3)
    tuned: str | None = None
    overrides: tuple[str, ...] = ()
    every: bool = False

    def sweeps(self, plan: Plan) -> Iterator[Sweep]:
        """The sweeps of a plan.

        Raises:
            UsageError: If one backbone or one file of tuned values would serve for several.
        """
        models = list(dict.fromkeys(variant.model for variant in plan.variants))
        _one_each("--backbone", self.backbone, "{model}", models)
        known = {name: None for variant in plan.variants for name in _family(variant)}
        other = [text for text in self.overrides if _preset_of(text) not in known]
        if other:
            raise UsageError(
                f"`--set` should begin with a preset: {', '.join(known)}. Got {other[0]!r}."
            )
        fixed = {_key_of(text) for variant in plan.variants for text in variant.overrides}
        fought = [text for text in self.overrides if _key_of(text) in fixed]
        if fought:
            raise UsageError(
                f"`--set` should leave alone what table {plan.table} varies. Got {fought[0]!r}."
            )
        _one_each("--tuned", self.tuned or "{dataset}", "{dataset}", plan.datasets)
        for variant, dataset in itertools.product(plan.variants, plan.datasets):
            inputs = replace(
                self.inputs,
                images=ImageInputs(dataset, self.root),
                backbone=self.backbone.replace("{model}", variant.model),
            )
            mine = [
                text.replace("{dataset}", dataset)
                for text in self.overrides
                if _preset_of(text) in _family(variant)
            ]
            yield Sweep(
                inputs, variant.presets, plan.shots, self.seeds, self.out / variant.folder,
                self.tuned and self.tuned.replace("{dataset}", dataset),
                (*variant.overrides, *mine), self.every,
            )  # fmt: skip


def _family(variant: Variant) -> list[str]:
    """The presets of a variant and what they extend."""
    return [name for preset in variant.presets for name in lineage(preset)]


def _preset_of(override: str) -> str:
    """The preset that an override begins with."""
    return override.split(".")[0].strip()


def _key_of(override: str) -> str:
    """What an override changes."""
    return override.split("=")[0].strip()


def _one_each(option: str, text: str, place: str, names: Collection[str]) -> None:
    """Refuse one value for several models or data sets."""
    if len(names) > 1 and place not in text:
        raise UsageError(
            f"`{option}` should hold {place}, which stands for each of {', '.join(names)}. "
            f"Got {text!r}."
        )
