"""What a bundle says about its making."""

from __future__ import annotations

from importlib.metadata import version

from ..backbones.base import Backbone
from ..data.splits import Split
from .bundle import FeatureBundle, Provenance
from .calibration import zero_shot_accuracy

CALTECH101: Provenance = {
    "name": "caltech101",
    "source": "Li, Andreeto, Ranzato, Perona: Caltech 101 (1.0), CaltechDATA, 2022",
    "doi": "10.22002/D1.20086",
    "licence": "CC BY 4.0",
    "changes": "holds features computed from the images, and no image",
    "split": "split_zhou_Caltech101.json of CoOp (Zhou et al., 2022), MIT licence",
}
LIBRARIES = ("pillow", "safetensors", "torch")


def describe(
    bundle: FeatureBundle, backbone: Backbone, split: Split, scale_was_fitted: bool
) -> Provenance:
    """Data, backbone, versions, logit scale and zero-shot accuracy of a bundle."""
    return {
        "data": {**CALTECH101, "split_sha256": split.sha256},
        "view": "one per image, centre crop, no augmentation",
        "backbone": backbone.fingerprint(),
        "libraries": {library: version(library) for library in LIBRARIES},
        "logit_scale": "least zero-shot cross-entropy on the validation images"
        if scale_was_fitted
        else "the backbone's own",
        "zero_shot": zero_shot(bundle),
    }


def zero_shot(bundle: FeatureBundle) -> Provenance:
    """Zero-shot accuracy in per cent on validation and test images."""
    texts = bundle.text_normalized
    accuracies = {
        name: round(zero_shot_accuracy(*bundle.subset(name), texts), 2) for name in ("val", "test")
    }
    return {"coordinates": texts.shape[1], **accuracies}
