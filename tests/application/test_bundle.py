"""Feature bundles: checks, round trip, and the message for every damaged file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from vlm_adapters.features.bundle import FeatureBundle, load_bundle, save_bundle

KEY = "vlm_adapters.feature_bundle"


@pytest.fixture
def bundle() -> FeatureBundle:
    """Six images of two classes; values that half precision holds exactly."""
    return FeatureBundle(
        features=torch.arange(18.0).reshape(6, 3) / 8,
        labels=torch.tensor([0, 1, 1, 0, 1, 0]),
        subsets=torch.tensor([0, 0, 0, 1, 2, 2]),
        text_raw=torch.tensor([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]),
        text_normalized=torch.eye(3)[:2],
        class_names=("cat", "sea_horse"),
        logit_scale=12.5,
        provenance={"data": {"licence": "CC BY 4.0"}, "accuracy": 0.1},
    )


def rewrite(
    file: Path, *, drop: str = "", metadata: dict[str, str] | None = None, **new: Tensor
) -> None:
    """Change tensors or metadata of a saved bundle."""
    tensors = load_file(file) | new
    tensors.pop(drop, None)
    save_file(tensors, file, document(file) if metadata is None else metadata)


def document(file: Path, **changes: Any) -> dict[str, str]:
    """A saved bundle's metadata, with changes."""
    size = int.from_bytes(file.read_bytes()[:8], "little")
    header = json.loads(file.read_bytes()[8 : 8 + size])
    return {KEY: json.dumps(json.loads(header["__metadata__"][KEY]) | changes)}


def test_round_trip(bundle: FeatureBundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "new" / "b.safetensors")
    loaded = load_bundle(tmp_path / "new" / "b.safetensors")
    for name in ("features", "labels", "subsets", "text_raw", "text_normalized"):
        torch.testing.assert_close(getattr(loaded, name), getattr(bundle, name), rtol=0, atol=0)
    assert loaded.class_names == bundle.class_names
    assert loaded.logit_scale == bundle.logit_scale
    assert loaded.provenance == bundle.provenance


def test_features_are_stored_in_half_precision(bundle: FeatureBundle, tmp_path: Path) -> None:
    third = replace(bundle, features=bundle.features / 3)
    save_bundle(third, tmp_path / "b.safetensors")
    assert load_file(tmp_path / "b.safetensors")["features"].dtype == torch.float16
    loaded = load_bundle(tmp_path / "b.safetensors").features
    torch.testing.assert_close(loaded, third.features.half().float(), rtol=0, atol=0)


def test_equal_bundles_are_equal_files(bundle: FeatureBundle, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_bundle(bundle, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saving_replaces_the_file_and_leaves_no_other(
    bundle: FeatureBundle, tmp_path: Path
) -> None:
    file = tmp_path / "b.safetensors"
    file.write_text("old")
    save_bundle(bundle, file)
    assert list(tmp_path.iterdir()) == [file]
    assert load_bundle(file).class_names == bundle.class_names


def test_file_can_be_read_like_any_other(bundle: FeatureBundle, tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    save_bundle(bundle, tmp_path / "b.safetensors")
    modes = {(tmp_path / name).stat().st_mode for name in ("ordinary", "b.safetensors")}
    assert len(modes) == 1


def test_failed_saving_keeps_the_old_file(bundle: FeatureBundle, tmp_path: Path) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    before = file.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_bundle(replace(bundle, provenance={"x": object()}), file)  # type: ignore[dict-item]
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_subsets_keep_their_order(bundle: FeatureBundle) -> None:
    features, labels = bundle.subset("train")
    torch.testing.assert_close(features, bundle.features[:3])
    torch.testing.assert_close(labels, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(bundle.subset("val")[0], bundle.features[3:4])
    torch.testing.assert_close(bundle.subset("test")[1], torch.tensor([1, 0]))


def test_a_subset_without_images(bundle: FeatureBundle) -> None:
    text = r"`subsets` should have images of each of train, val, test\. Got none of val\."
    with pytest.raises(ValueError, match=text):
        replace(bundle, subsets=torch.tensor([0, 0, 0, 0, 2, 2]))


def test_unknown_subset(bundle: FeatureBundle) -> None:
    with pytest.raises(ValueError, match=r"`name` should be one of train, val, test\. Got 'all'\."):
        bundle.subset("all")


NAN_ROWS = torch.tensor([[1.0, 2.0, 3.0]] * 6)
NAN_ROWS[[2, 4], 1] = torch.tensor([float("nan"), float("inf")])
DAMAGED = [
    ("features", torch.zeros(5, 3), r"`features` should have shape \(6, 3\)\. Got \(5, 3\)\."),
    ("features", torch.zeros(6), r"`features` should have shape \(6, 6\)\. Got \(6,\)\."),
    (
        "features",
        torch.zeros(6, 3).int(),
        r"`features` should be torch\.float32\. Got torch\.int32\.",
    ),
    ("features", NAN_ROWS, r"`features` should be finite\. Got 2 rows .* first at row 2\."),
    ("labels", torch.zeros(6, 1).long(), r"`labels` should have shape \(6,\)\. Got \(6, 1\)\."),
    ("labels", torch.zeros(6).int(), r"`labels` should be torch\.int64\. Got torch\.int32\."),
    (
        "labels",
        torch.tensor([0, 1, 2, 0, 9, 0]),
        r"`labels` should lie from 0 to 1\. Got 2 at row 2\.",
    ),
    (
        "labels",
        torch.tensor([0, 1, 1, -1, 1, 0]),
        r"`labels` should lie from 0 to 1\. Got -1 at row 3\.",
    ),
    ("subsets", torch.zeros(5).long(), r"`subsets` should have shape \(6,\)\. Got \(5,\)\."),
    ("subsets", torch.full((6,), 3), r"`subsets` should lie from 0 to 2\. Got 3 at row 0\."),
    ("text_raw", torch.zeros(3, 3), r"`text_raw` should have shape \(2, 3\)\. Got \(3, 3\)\."),
    ("text_normalized", NAN_ROWS[2:4], r"`text_normalized` should be finite\. Got 1 rows"),
]


@pytest.mark.parametrize(("name", "tensor", "message"), DAMAGED)
def test_tensor_does_not_fit(
    bundle: FeatureBundle, name: str, tensor: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(bundle, **{name: tensor})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "tensor", "message"), DAMAGED)
def test_file_holds_a_tensor_that_does_not_fit(
    bundle: FeatureBundle, tmp_path: Path, name: str, tensor: Tensor, message: str
) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    rewrite(file, **{name: tensor.contiguous()})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"^In `b\.safetensors`: {message}"):
        load_bundle(file)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_logit_scale(bundle: FeatureBundle, scale: float) -> None:
    with pytest.raises(ValueError, match=rf"`logit_scale` should be positive .* Got {scale}\."):
        replace(bundle, logit_scale=scale)


def test_too_large_for_half_precision(bundle: FeatureBundle, tmp_path: Path) -> None:
    large = replace(bundle, features=bundle.features + 1e6)
    with pytest.raises(ValueError, match=r"`features` should not exceed 65504.* Got 1e\+06\."):
        save_bundle(large, tmp_path / "b.safetensors")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` should be a feature bundle\. Got .*none"):
        load_bundle(tmp_path / "none")


def test_not_safetensors(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_text("no header")
    message = r"b\.safetensors` should be a complete safetensors file\. Got "
    with pytest.raises(ValueError, match=message):
        load_bundle(tmp_path / "b.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated(bundle: FeatureBundle, tmp_path: Path, kept: int) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"complete safetensors file.* Copy it again, or"):
        load_bundle(file)


def test_foreign_safetensors(tmp_path: Path) -> None:
    save_file({"features": torch.zeros(2, 2)}, tmp_path / "b.safetensors")
    message = r"Got a safetensors file without the metadata `vlm_adapters\.feature_bundle`"
    with pytest.raises(ValueError, match=message):
        load_bundle(tmp_path / "b.safetensors")


def test_missing_tensor(bundle: FeatureBundle, tmp_path: Path) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    rewrite(file, drop="subsets")
    with pytest.raises(ValueError, match=r"should hold the tensors .* Got no `subsets`\."):
        load_bundle(file)


def test_newer_schema(bundle: FeatureBundle, tmp_path: Path) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    # A newer file may lack a field of ours; the version must be named all the same.
    rewrite(file, metadata={KEY: '{"schema_version": 2}'})
    with pytest.raises(ValueError, match=r"error in schema_version: .*should be 1\. Upgrade"):
        load_bundle(file)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"schema_version": 1}'], ids=["broken", "list", "empty", "partial"]
)
def test_incomplete_metadata(bundle: FeatureBundle, tmp_path: Path, text: str) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    rewrite(file, metadata={KEY: text})
    with pytest.raises(ValueError, match=r"`b\.safetensors` should have complete metadata .* Got "):
        load_bundle(file)


def test_class_name_lost(bundle: FeatureBundle, tmp_path: Path) -> None:
    file = tmp_path / "b.safetensors"
    save_bundle(bundle, file)
    rewrite(file, metadata=document(file, class_names=["cat"]))
    with pytest.raises(ValueError, match=r"`text_raw` should have shape \(1, 3\)\. Got \(2, 3\)"):
        load_bundle(file)
