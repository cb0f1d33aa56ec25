"""A data set: where its images lie, how they are split, how its classes are put into words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..prompts import check_templates
from .few_shot import FewShot, few_shot_split
from .splits import Split

__all__ = ["ImageDataset"]


@dataclass(frozen=True)
class ImageDataset:
    """Images in three subsets, with templates for the names of their classes.

    Attributes:
        name: Name in tables and files.
        images: Folder below which the paths of the split lie.
        split: The images of each subset.
        templates: Sentences with one ``{}`` each, where a class name goes.
        taskres_templates: The same for TaskRes, which has one more for ImageNet.
        classes: For a target domain: which classes of ImageNet its labels 0, 1, 2, ... are, as
            positions in ``classnames.txt``. Otherwise None.

    Raises:
        ValueError: If a template has no one place for the name, or ``classes`` and the names of
            the split differ in number.
    """

    name: str
    images: Path
    split: Split
    templates: tuple[str, ...]
    taskres_templates: tuple[str, ...]
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail only after the images have been read."""
        check_templates(self.templates)
        check_templates(self.taskres_templates)
        names = len(self.split.class_names)
        if self.classes is not None and len(self.classes) != names:
            raise ValueError(
                f"`classes` should have one position for each of {names} class names. "
                f"Got {len(self.classes)}."
            )

    @property
    def val_from_train(self) -> bool:
        """Whether validation images have to be drawn from the training images."""
        return bool(self.split.train) and not self.split.val

    def few_shot(self, shots: int, seed: int) -> FewShot:
        """Draw a few-shot task from this data set.

        Args:
            shots: Training images per class.
            seed: Seed of the draw.

        Returns:
            Rows of ``split.train`` and ``split.val``, or of ``split.train`` alone: see
            :class:`FewShot`.

        Raises:
            ValueError: If the data set has no training images, or none is left for validation.
        """
        if not self.split.train:
            raise ValueError(
                f"`{self.name}` should have training images. Got a data set that is only a test "
                "set. Train on another, such as imagenet, and evaluate on this one."
            )
        return few_shot_split(
            [sample.label for sample in self.split.train],
            [sample.label for sample in self.split.val],
            shots,
            seed,
            val_from_train=self.val_from_train,
        )
