"""A few-shot task: the features that an adapter may see, and those it is judged on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import normalize

from .data import few_shot_split, indices_hash
from .features import FeatureBundle


@dataclass(frozen=True, eq=False)
class Task:
    """Features of one few-shot task; image features have unit length.

    Shape:
        - train_features: (n, d), val_features: (v, d), test_features: (t, d); labels int64.
        - text_raw, text_normalized: (k, d).
    """

    shots: int
    seed: int
    train_features: Tensor
    train_labels: Tensor
    val_features: Tensor
    val_labels: Tensor
    test_features: Tensor
    test_labels: Tensor
    text_raw: Tensor
    text_normalized: Tensor
    logit_scale: float
    hashes: dict[str, str]


def few_shot_task(bundle: FeatureBundle, shots: int, seed: int) -> Task:
    """Draw CoOp's few-shot sample from a bundle.

    Args:
        bundle: Features of a data set.
        shots: Training images a class; validation takes at most 4.
        seed: Seed of the draw.

    Returns:
        The task, with the hashes of its index lists.
    """
    train, train_labels = bundle.subset("train")
    val, val_labels = bundle.subset("val")
    test, test_labels = bundle.subset("test")
    chosen = few_shot_split(train_labels.tolist(), val_labels.tolist(), shots, seed)
    return Task(
        shots=shots,
        seed=seed,
        train_features=normalize(train[chosen.train], dim=1),
        train_labels=train_labels[chosen.train],
        val_features=normalize(val[chosen.val], dim=1),
        val_labels=val_labels[chosen.val],
        test_features=normalize(test, dim=1),
        test_labels=test_labels,
        text_raw=bundle.text_raw,
        text_normalized=bundle.text_normalized,
        logit_scale=bundle.logit_scale,
        hashes={"train": indices_hash(chosen.train), "val": indices_hash(chosen.val)},
    )
