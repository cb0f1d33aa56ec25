"""From data set and backbone to what tasks are drawn from: extract, resume, share over ranks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..backbones.base import Backbone
from ..data.splits import ImageDataset, Sample
from ..features import ranks
from ..features.contents import content_hashes
from ..features.extract import Progress, extract_views
from ..features.recipe import Recipe
from ..features.store import FeatureStore
from ..features.texts import encode_classes
from ..features.texts_file import save_texts
from ..features.views import Augmentation, Centre, View
from .stored import Part, StoredSource

__all__ = ["Extraction"]

LIBRARIES = ("pillow", "torch", "torchvision")
SHOWN = 3
log = logging.getLogger(__name__)
BLOCK = 256  # views a part: a minute of a slow machine


class _Wanted(NamedTuple):
    """Features that are to be had, extracted or not."""

    recipe: Recipe
    rows: tuple[int, ...]
    view: View


@dataclass(frozen=True)
class Extraction:
    """Features of one data set by one backbone, into a store.

    Attributes:
        backbone: Frozen encoder.
        spec: How :func:`vlm_adapters.backbones.load_backbone` finds it.
        dataset: Images and their split.
        store: Where features are kept.
        batch_size: Views per call of the encoder.
        num_workers: Threads that read images.
        progress: Called with the images done and the images in all, for each entry.
        published: As :func:`vlm_adapters.features.extract.read_image` takes it.
    """

    backbone: Backbone
    spec: str
    dataset: ImageDataset
    store: FeatureStore
    batch_size: int = 64
    num_workers: int = 2
    progress: Progress = lambda done, total: None
    published: bool = False

    @property
    def centre(self) -> Centre:
        """The view of validation and test images."""
        return Centre(published=self.published)

    def source(
        self, draws: Sequence[tuple[int, int]], augmentation: Augmentation | None
    ) -> StoredSource:
        """Extract what some few-shot tasks need.

        Args:
            draws: Shots and seed of each task.
            augmentation: Views of the training images; None extracts none, for online training.

        Returns:
            The source of the tasks; it can be sent to other processes.

        Raises:
            FileNotFoundError: If an image is missing.
            ValueError: If an image cannot be read, an entry of the store is damaged, or the data
                set has no training images.
        """
        dataset, split = self.dataset, self.dataset.split
        drawn = {(shots, seed): dataset.few_shot(shots, seed) for shots, seed in draws}
        train = sorted({row for task in drawn.values() for row in task.train})
        val = sorted({row for task in drawn.values() for row in task.val})
        from_train = dataset.val_from_train
        # Every image is looked for before the first is encoded.
        wanted_train = self._wanted(split.train, train, augmentation or self.centre)
        wanted_val = self._wanted(split.train, val) if from_train else self._wanted(split.val)
        wanted_test = self._wanted(split.test)
        _warn_of_equal_images(
            {"train": wanted_train, "val": wanted_val, "test": wanted_test}, split.class_names
        )
        texts = [self.texts(replace_underscores=replace) for replace in (True, False)]
        return StoredSource(
            dataset=dataset.name,
            backbone=self.spec,
            logit_scale=self.backbone.logit_scale,
            class_names=split.class_names,
            split=split.sha256,
            draws=drawn,
            val_from_train=from_train,
            train=self._part(wanted_train) if augmentation else self._unread(wanted_train),
            val=self._part(wanted_val),
            test=self._part(wanted_test),
            texts=texts[0],
            texts_kept=texts[1],
        )

    def part(
        self,
        samples: Sequence[Sample],
        rows: Sequence[int] | None = None,
        view: View | None = None,
    ) -> Part:
        """Extract some images of a subset.

        Args:
            samples: The subset.
            rows: Which of them; all if left out.
            view: Which views; the centre if left out.

        Returns:
            Where the features are.
        """
        return self._part(self._wanted(samples, rows, view))

    def _wanted(
        self,
        samples: Sequence[Sample],
        rows: Sequence[int] | None = None,
        view: View | None = None,
    ) -> _Wanted:
        """Some images of a subset, once it is known that they are there."""
        rows = range(len(samples)) if rows is None else rows
        view = view or self.centre
        return _Wanted(self._recipe([samples[row] for row in rows], view), tuple(rows), view)

    def _unread(self, wanted: _Wanted) -> Part:
        """Images whose features are not stored."""
        return Part(self.store, wanted.recipe, None, wanted.rows)

    def _part(self, wanted: _Wanted) -> Part:
        """Find or extract the features."""
        entry = self.store.find(wanted.recipe)
        if entry is None:
            entry = self._extract(wanted.recipe, wanted.view)
        return Part(self.store, wanted.recipe, entry, wanted.rows)

    def texts(self, *, replace_underscores: bool) -> Path:
        """Encode the class texts, unless they are there.

        Args:
            replace_underscores: As in :func:`vlm_adapters.prompts.raw_mean`.

        Returns:
            Their file.
        """
        dataset = self.dataset
        prompts = (dataset.split.class_names, dataset.templates, dataset.taskres_templates)
        recipe = {
            "dataset": dataset.name,
            "backbone": self.backbone.fingerprint(),
            "prompts": [list(part) for part in prompts],
            "replace_underscores": replace_underscores,
            "torch": version("torch"),
        }

        def encode(file: Path) -> None:
            texts = encode_classes(self.backbone, *prompts, replace_underscores=replace_underscores)
            save_texts(texts, file, recipe)

        return self.store.texts(dataset.name, recipe, encode)

    def _recipe(self, samples: Sequence[Sample], view: View) -> Recipe:
        """Everything that the features of some images depend on."""
        root = self.dataset.images
        with _missing_images(root):
            contents = content_hashes(self.store.root, root, [s.path for s in samples])
        return Recipe(
            dataset=self.dataset.name,
            split=self.dataset.split.sha256,
            view=view.describe(),
            backbone=self.backbone.fingerprint(),
            libraries={name: version(name) for name in LIBRARIES},
            paths=tuple(sample.path for sample in samples),
            contents=contents,
            labels=tuple(sample.label for sample in samples),
        )

    def _extract(self, recipe: Recipe, view: View) -> Path:
        """Extract an entry; under ``torchrun`` each rank takes its share, rank 0 joins them."""
        block = max(1, BLOCK // view.views)

        def encode(part: slice, progress: Progress) -> Tensor:
            return extract_views(
                self.backbone, self.dataset.images, recipe.paths[part], view,
                batch_size=self.batch_size, num_workers=self.num_workers, progress=progress,
            )  # fmt: skip

        with ranks.together(), self._unless_finished(recipe):
            self.store.make(recipe, block, encode, share=ranks.share(), progress=self.progress)
        with ranks.together(), self._unless_finished(recipe):
            if ranks.share()[0] == 0:
                self.store.finish(recipe, block)
        return self.store.root / recipe.folder

    @contextmanager
    def _unless_finished(self, recipe: Recipe) -> Iterator[None]:
        """Another command that extracts the same may finish first, and remove the parts."""
        try:
            yield
        except FileNotFoundError:
            if self.store.find(recipe) is None:
                raise


def _warn_of_equal_images(wanted: Mapping[str, _Wanted], names: Sequence[str]) -> None:
    """Warn of files with equal bytes in two classes, or among training and test images."""
    seen: dict[str, tuple[str, str, int]] = {}
    pairs: list[str] = []
    for subset, part in wanted.items():
        recipe = part.recipe
        for path, content, label in zip(recipe.paths, recipe.contents, recipe.labels, strict=True):
            other, where, theirs = seen.setdefault(content, (path, subset, label))
            if theirs != label:
                pairs.append(f"{other} of {names[theirs]} is {path} of {names[label]}")
            elif where != subset and other != path:
                pairs.append(f"{other} of {where} is {path} of {subset}")
    if pairs:
        log.warning(
            "%d images have the same content as another of another class or subset: %s%s.",
            len(pairs), "; ".join(pairs[:SHOWN]), "; ..." if len(pairs) > SHOWN else "",
        )  # fmt: skip


@contextmanager
def _missing_images(root: Path) -> Iterator[None]:
    """A missing image as an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise FileNotFoundError(
            f"`{root}` should hold every image of the split. Got {error.strerror} for "
            f"{error.filename}. Run `vlm-adapters data check` to see all that is missing."
        ) from None
