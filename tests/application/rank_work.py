"""The sources that tests make."""

import pathlib

import torch
from application.fake_backbone import SPEC, FakeBackbone
from vlm_adapters.features.views import Augmentation
from vlm_adapters.inputs import FeatureInputs, ImageInputs
from vlm_adapters.sources import Extraction

DRAWS = [(1, 1), (2, 1)]
AUGMENTATION = Augmentation(views=3)


class Counting(FakeBackbone):
    """Counts views, and breaks off before a call of the encoder."""

    breaks_at = -1
    views = calls = 0

    def encode_image(self, images):
        if self.calls == self.breaks_at:
            raise RuntimeError("the encoder broke")
        type(self).calls += 1
        type(self).views += len(images)
        return super().encode_image(images)


def counting(breaks_at=-1):
    """A backbone with counters of its own."""
    return type("Counting", (Counting,), {"breaks_at": breaks_at})()


def extraction(root, store, name="dtd", backbone=None, **options):
    """A synthetic data set and a small backbone, ready to extract."""
    images = ImageInputs(name, pathlib.Path(root))
    inputs = FeatureInputs(images, SPEC, store=pathlib.Path(store), **{"views": 3} | options)
    return Extraction(inputs, images.open(), backbone or FakeBackbone())


def content(store):
    """Every file below a folder."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(pathlib.Path(store).rglob("*"))
        if path.is_file() and not path.name.startswith("contents-")
    }


def equal(a, b):
    """Every bit."""
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def shrink(shared, item):
    """A number that is denormal where such numbers are kept."""
    return float(torch.tensor(shared) * item)
