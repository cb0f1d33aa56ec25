"""Features of frozen backbones: extracting, bundling, calibrating."""

from __future__ import annotations

from .build import build_bundle, split_file
from .bundle import FeatureBundle, Provenance
from .bundle_file import bundle_sha256, load_bundle, save_bundle
from .calibration import fit_logit_scale, zero_shot_accuracy
from .extract import Progress, extract_features

__all__ = [
    "FeatureBundle",
    "Progress",
    "Provenance",
    "build_bundle",
    "bundle_sha256",
    "extract_features",
    "fit_logit_scale",
    "load_bundle",
    "save_bundle",
    "split_file",
    "zero_shot_accuracy",
]
