"""Data sets: their images, splits and few-shot samples; begin reading at ``splits``."""

from .check import check_dataset, check_images
from .datasets import DATASETS, Problem, open_dataset
from .few_shot import (
    FewShot,
    IndexList,
    few_shot_indices,
    few_shot_split,
    indices_hash,
    read_index_list,
    write_index_list,
)
from .folders import image_folder, split_dataset
from .splits import ImageDataset, Sample, Split, read_split

__all__ = [
    "DATASETS",
    "FewShot",
    "ImageDataset",
    "IndexList",
    "Problem",
    "Sample",
    "Split",
    "check_dataset",
    "check_images",
    "few_shot_indices",
    "few_shot_split",
    "image_folder",
    "indices_hash",
    "open_dataset",
    "read_index_list",
    "read_split",
    "split_dataset",
    "write_index_list",
]
