"""Data sets: their images, splits and few-shot samples."""

from __future__ import annotations

from .base import ImageDataset
from .check import Problem, check_dataset, check_images
from .datasets import DATASETS, open_dataset
from .few_shot import FewShot, few_shot_indices, few_shot_split, indices_hash
from .image_folder import image_folder, split_dataset
from .index_lists import IndexList, read_index_list, write_index_list
from .splits import Sample, Split, read_split

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
