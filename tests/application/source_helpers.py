"""The sources that tests make."""

import pathlib

import torch
from application.fake_backbone import SPEC, FakeBackbone
from vlm_adapters.cli.inputs import Inputs
from vlm_adapters.features.views import Augmentation
from vlm_adapters.sources import Extraction

DRAWS = [(1, 1), (2, 1)]
AUGMENTATION = Augmentation(views=3)


class Counting(FakeBackbone):
    """Counts views."""

    views = 0

    def encode_image(self, images):
        type(self).views += len(images)
        return super().encode_image(images)


def counting():
    """A backbone that counts for itself."""
    return type("Counting", (Counting,), {})()


def extraction(root, store, name="dtd", backbone=None, **options):
    """A synthetic data set and a small backbone, ready to extract."""
    options = {"views": 3, "backbone": SPEC, "store": pathlib.Path(store)} | options
    inputs = Inputs(name, pathlib.Path(root), **options)
    return Extraction(inputs, inputs.open(), backbone or FakeBackbone())


def shrink(shared, item):
    """A number that is denormal where such numbers are kept."""
    return float(torch.tensor(shared) * item)
