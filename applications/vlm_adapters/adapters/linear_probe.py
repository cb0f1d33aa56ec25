"""Logistic regression on the image features."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ..config import AdapterOptions
from . import Adapter, Step

if TYPE_CHECKING:
    from ..sources import Task

PENALTIES = tuple(10.0**power for power in range(7))
"""Inverse strengths C among which validation images choose; the first of equals."""


class LinearProbe(Adapter):
    """Logits ``x . w + b``, fitted with an L2 penalty; it knows no text.

    Shape:
        - weight: (k, d). bias: (k,).
    """

    tensors = ("weight", "bias")
    weight: Tensor
    bias: Tensor

    @classmethod
    def initial(cls, task: Task, options: AdapterOptions) -> dict[str, Tensor]:
        """Fit for each penalty on the training images; take the best on validation images."""
        classes, device = len(task.texts.raw), task.texts.raw.device
        images, labels = task.train.keys().cpu().numpy(), task.train_labels.cpu().numpy()

        def fit(penalty: float) -> dict[str, Tensor]:
            with warnings.catch_warnings():
                # Where the solver stops early, validation images still judge its result.
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted = LogisticRegression(C=penalty, max_iter=1000).fit(images, labels)
            rows = torch.from_numpy(fitted.coef_).float()
            bias = torch.from_numpy(fitted.intercept_).float()
            if len(rows) == 1:  # of two classes
                rows, bias = torch.cat([-rows, rows]) / 2, torch.cat([-bias, bias]) / 2
            # A class without training images is never predicted.
            weights = rows.new_zeros(classes, rows.shape[1])
            biases = bias.new_full((classes,), -torch.inf)
            weights[fitted.classes_], biases[fitted.classes_] = rows, bias
            return {"weight": weights.to(device), "bias": biases.to(device)}

        def correct(tensors: dict[str, Tensor]) -> int:
            probe = cls(tensors, options, task.logit_scale)
            return int((probe(task.val_features).argmax(1) == task.val_labels).sum())

        return max(map(fit, PENALTIES), key=correct)

    def step(self, features: Tensor) -> Step:
        """Compare images with the weights of their class."""
        logits = features @ self.weight.mT + self.bias
        return Step(logits, features, lambda labels: self.weight.index_select(0, labels))
