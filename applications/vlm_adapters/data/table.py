"""The eleven data sets of the paper and its four target domains, in CoOp's layout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .coop_splits import read_aircraft, read_json
from .imagenet import read_all_classes, read_imagenet, read_numbered, read_some_classes
from .specs import CLASS_NAMES, DatasetSpec, Sizes

__all__ = ["DATASETS"]

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"

SPECS = (
    DatasetSpec(
        name="imagenet",
        folders=("imagenet",),
        images=("images", "."),
        split=CLASS_NAMES,
        read=read_imagenet,
        sizes=Sizes(1000, 1_281_167, 0, 50_000),
        home="https://image-net.org",
        section="ImageNet",
        note="The images of `val` have to be sorted into class folders.",
        subfolders=("train", "val"),
    ),
    DatasetSpec(
        name="caltech101",
        folders=("caltech-101",),
        images=("101_ObjectCategories",),
        split="split_zhou_Caltech101.json",
        read=read_json,
        sizes=Sizes(100, 4128, 1649, 2465),
        home="https://data.caltech.edu/records/mzrjq-6wc02",
        section="Caltech101",
    ),
    DatasetSpec(
        name="oxford_pets",
        folders=("oxford_pets",),
        images=("images",),
        split="split_zhou_OxfordPets.json",
        read=read_json,
        sizes=Sizes(37, 2944, 736, 3669),
        home=f"{OXFORD}/pets/",
        section="OxfordPets",
    ),
    DatasetSpec(
        name="stanford_cars",
        folders=("stanford_cars",),
        images=(".",),
        split="split_zhou_StanfordCars.json",
        read=read_json,
        sizes=Sizes(196, 6509, 1635, 8041),
        home="a copy",
        section="StanfordCars",
        note="The official link is dead. Copies, such as those on Kaggle, have another layout: "
        "move their images so that there are `cars_train/00001.jpg` and `cars_test/00001.jpg`.",
        subfolders=("cars_train", "cars_test"),
    ),
    DatasetSpec(
        name="oxford_flowers",
        folders=("oxford_flowers",),
        images=("jpg",),
        split="split_zhou_OxfordFlowers.json",
        read=read_json,
        sizes=Sizes(102, 4093, 1633, 2463),
        home=f"{OXFORD}/flowers/102/",
        section="Flowers102",
    ),
    DatasetSpec(
        name="food101",
        folders=("food-101",),
        images=("images",),
        split="split_zhou_Food101.json",
        read=read_json,
        sizes=Sizes(101, 50_500, 20_200, 30_300),
        home="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        section="Food101",
    ),
    DatasetSpec(
        name="fgvc_aircraft",
        folders=("fgvc_aircraft", "fgvc"),
        images=("images",),
        split="variants.txt",
        read=read_aircraft,
        sizes=Sizes(100, 3334, 3333, 3333),
        home=f"{OXFORD}/fgvc-aircraft/",
        section="FGVCAircraft",
        note="Only the folder `data` of the archive is needed; rename it.",
        files=tuple(f"images_variant_{subset}.txt" for subset in ("train", "val", "test")),
    ),
    DatasetSpec(
        name="sun397",
        folders=("sun397",),
        images=("SUN397",),
        split="split_zhou_SUN397.json",
        read=read_json,
        sizes=Sizes(397, 15_880, 3970, 19_850),
        home="https://vision.princeton.edu/projects/2010/SUN/",
        section="SUN397",
        note="Users have reported the link to the archive as dead; a copy does as well.",
    ),
    DatasetSpec(
        name="dtd",
        folders=("dtd", "DTD"),
        images=("images",),
        split="split_zhou_DescribableTextures.json",
        read=read_json,
        sizes=Sizes(47, 2820, 1128, 1692),
        home=f"{OXFORD}/dtd/",
        section="DTD",
    ),
    DatasetSpec(
        name="eurosat",
        folders=("eurosat",),
        images=("2750",),
        split="split_zhou_EuroSAT.json",
        read=read_json,
        sizes=Sizes(10, 13_500, 5400, 8100),
        home="https://github.com/phelber/EuroSAT",
        section="EuroSAT",
        note="It is the RGB version; its folder has to be named `2750`.",
    ),
    DatasetSpec(
        name="ucf101",
        folders=("ucf101",),
        images=("UCF-101-midframes",),
        split="split_zhou_UCF101.json",
        read=read_json,
        sizes=Sizes(101, 7639, 1898, 3783),
        home="the link to `UCF-101-midframes.zip` in CoOp's instructions",
        section="UCF101",
        note="It holds one frame of each video, which is what the split names.",
    ),
    DatasetSpec(
        name="imagenetv2",
        folders=("imagenetv2",),
        images=("imagenetv2-matched-frequency-format-val",),
        split=CLASS_NAMES,
        read=read_numbered,
        sizes=Sizes(1000, 0, 0, 10_000),
        home="https://github.com/modestyachts/ImageNetV2",
        section="ImageNetV2",
    ),
    DatasetSpec(
        name="imagenet_sketch",
        folders=("imagenet-sketch",),
        images=("images",),
        split=CLASS_NAMES,
        read=read_all_classes,
        sizes=Sizes(1000, 0, 0, 50_889),
        home="https://github.com/HaohanWang/ImageNet-Sketch",
        section="ImageNet-Sketch",
    ),
    DatasetSpec(
        name="imagenet_a",
        folders=("imagenet-adversarial",),
        images=("imagenet-a",),
        split=CLASS_NAMES,
        read=read_some_classes,
        sizes=Sizes(200, 0, 0, 7500),
        home="https://github.com/hendrycks/natural-adv-examples",
        section="ImageNet-A",
    ),
    DatasetSpec(
        name="imagenet_r",
        folders=("imagenet-rendition",),
        images=("imagenet-r",),
        split=CLASS_NAMES,
        read=read_some_classes,
        sizes=Sizes(200, 0, 0, 30_000),
        home="https://github.com/hendrycks/imagenet-r",
        section="ImageNet-R",
    ),
)

DATASETS: Mapping[str, DatasetSpec] = MappingProxyType({spec.name: spec for spec in SPECS})
"""The specifications by CoOp's configuration name."""
