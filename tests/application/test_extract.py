"""Features of synthetic image files, and the bundle of a small data set in CoOp's layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from vlm_adapters.data import open_dataset
from vlm_adapters.features.bundle import (
    FeatureBundle,
    build_bundle,
    fit_logit_scale,
    load_bundle,
    save_bundle,
)
from vlm_adapters.features.views import extract_features

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (51, 102, 153)]


@dataclass
class ColourBackbone:
    """Mean colour of an image; a text's features count its letters r, g and b."""

    name: str = "colour"
    dimension: int = 3
    logit_scale: float = 7.0

    def fingerprint(self) -> dict[str, str]:
        """Nothing that could change."""
        return {"name": self.name}

    def preprocess(self, image: Image.Image) -> Tensor:
        """One pixel, as a fraction of full brightness."""
        pixel = image.resize((1, 1)).getpixel((0, 0))
        return torch.tensor(pixel).reshape(3, 1, 1) / 255

    def encode_image(self, images: Tensor) -> Tensor:
        """The pixel."""
        return images.flatten(1)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Counts of letters."""
        return torch.tensor([[float(text.count(letter)) for letter in "RGB"] for text in texts])


class WideBackbone(ColourBackbone):
    """One that can be projected."""

    def principal_directions(self, count: int) -> Tensor:
        """The first coordinates."""
        return torch.eye(3)[:, :count]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of one colour each."""
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (6, 4), colour).save(tmp_path / f"{i}.png")
    return tmp_path


PATHS = [f"{i}.png" for i in range(len(COLOURS))]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_one_row_per_path_in_order(folder: Path, batch_size: int, num_workers: int) -> None:
    features = extract_features(
        ColourBackbone(), folder, PATHS[::-1], batch_size=batch_size, num_workers=num_workers
    )
    torch.testing.assert_close(features, torch.tensor(COLOURS[::-1]) / 255)


def test_result_can_be_trained_on(folder: Path) -> None:
    features = extract_features(ColourBackbone(), folder, PATHS)
    weight = torch.ones(3, requires_grad=True)
    (features @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, features.sum(dim=0))


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (3, 3), 51).save(tmp_path / "grey.png")
    Image.new("RGBA", (3, 3), (51, 0, 255, 0)).save(tmp_path / "clear.png")
    features = extract_features(ColourBackbone(), tmp_path, ["grey.png", "clear.png"])
    torch.testing.assert_close(features, torch.tensor([[0.2, 0.2, 0.2], [1.0, 1.0, 1.0]]))


def test_progress_counts_images(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    extract_features(
        ColourBackbone(), folder, PATHS, batch_size=2, progress=lambda *call: calls.append(call)
    )
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_no_image(tmp_path: Path) -> None:
    assert extract_features(ColourBackbone(), tmp_path, []).shape == (0, 3)


def test_missing_image(folder: Path) -> None:
    message = r"should hold every image of the split\. Got no file 'cat/9\.png'\."
    with pytest.raises(FileNotFoundError, match=message):
        extract_features(ColourBackbone(), folder, [*PATHS, "cat/9.png"], batch_size=2)


def test_truncated_image(folder: Path) -> None:
    Image.effect_noise((64, 64), 50).save(folder / "cut.jpg")
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    message = r"`cut\.jpg` should be a readable image\. Got: .*truncated.*Copy the file"
    with pytest.raises(ValueError, match=message):
        extract_features(ColourBackbone(), folder, ["cut.jpg", *PATHS], batch_size=2)


def test_file_is_no_image(folder: Path) -> None:
    (folder / "page.jpg").write_text("<html>")
    message = r"`page\.jpg` should be a readable image\. Got: cannot identify"
    with pytest.raises(ValueError, match=message):
        extract_features(ColourBackbone(), folder, ["page.jpg"])


@pytest.mark.parametrize("option", ["batch_size", "num_workers"])
def test_option_below_one(folder: Path, option: str) -> None:
    with pytest.raises(ValueError, match=rf"^`{option}` should be 1 or more\. Got 0\.$"):
        extract_features(ColourBackbone(), folder, PATHS, **{option: 0})  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of three classes in CoOp's layout; the last test image is mislabelled."""
    images = tmp_path / "caltech-101" / "101_ObjectCategories"
    images.mkdir(parents=True)
    split: dict[str, list[list[object]]] = {}
    for subset in ("train", "val", "test"):
        for label, name in enumerate(["R_R", "G", "B"]):
            Image.new("RGB", (4, 4), COLOURS[label]).save(images / f"{subset}{label}.png")
            split.setdefault(subset, []).append([f"{subset}{label}.png", label, name])
    Image.new("RGB", (4, 4), (0, 0, 255)).save(images / "extra.png")
    split["test"].append(["extra.png", 1, "G"])
    (tmp_path / "caltech-101" / "split_zhou_Caltech101.json").write_text(json.dumps(split))
    return tmp_path


def built(backbone: ColourBackbone, root: Path, **options: int | None) -> FeatureBundle:
    """The bundle of the data set."""
    return build_bundle(backbone, open_dataset("caltech101", root), **options)  # type: ignore[arg-type]


def test_bundle_of_a_data_set(root: Path, tmp_path: Path) -> None:
    bundle = built(ColourBackbone(), root, coordinates=None)
    assert bundle.class_names == ("R_R", "G", "B")
    expected = fit_logit_scale(*bundle.subset("val"), bundle.text_normalized)
    assert bundle.logit_scale == expected != 7.0
    torch.testing.assert_close(bundle.subset("train")[0], torch.eye(3))
    torch.testing.assert_close(bundle.subset("test")[1], torch.tensor([0, 1, 2, 1]))
    torch.testing.assert_close(bundle.text_raw, torch.diag(torch.tensor([2.0, 1.0, 1.0])))
    torch.testing.assert_close(bundle.text_normalized, torch.eye(3))
    assert bundle.provenance["zero_shot"] == {"coordinates": 3, "val": 100.0, "test": 75.0}
    save_bundle(bundle, tmp_path / "b.safetensors")
    assert load_bundle(tmp_path / "b.safetensors").provenance == bundle.provenance


def test_provenance_names_the_source_and_no_local_path(root: Path) -> None:
    provenance = built(ColourBackbone(), root, coordinates=None).provenance
    text = json.dumps(provenance)
    assert str(root) not in text
    for part in ("CC BY 4.0", "CaltechDATA", "split_sha256", '"name": "colour"', "pillow"):
        assert part in text


def test_projection_keeps_the_leading_coordinates(root: Path) -> None:
    bundle = built(WideBackbone(), root, coordinates=2)
    torch.testing.assert_close(bundle.subset("train")[0], torch.eye(3)[:, :2])
    torch.testing.assert_close(bundle.text_raw, torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    after, before = bundle.provenance["zero_shot"], bundle.provenance["zero_shot_unprojected"]
    assert before == {"coordinates": 3, "val": 100.0, "test": 75.0}
    assert after == {"coordinates": 2, "val": 66.67, "test": 50.0}


def test_backbone_without_principal_directions(root: Path) -> None:
    message = r"`coordinates` should be None .* Got 512 for `colour`\. Pass `coordinates=None`\."
    with pytest.raises(ValueError, match=message):
        built(ColourBackbone(), root)
