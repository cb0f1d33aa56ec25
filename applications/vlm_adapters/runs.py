"""What a run is once it is made: its task, its accuracies, and what they depend on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training and its test accuracies.

    Attributes:
        method: Title of the method.
        preset: Name of its preset.
        dataset: Name of the data set.
        backbone: Name of the backbone.
        data: What a step saw of the training images: ``"cached"`` or ``"online"`` views.
        shots: Training images a class.
        seed: Seed of sample, batches and views.
        headline: Protocol whose number the tables show.
        accuracies: Test accuracy in per cent under each protocol.
        factors: What searches chose, such as sharpness and cache weight, by protocol.
        hashes: Of the split and of the index lists of training and validation images.
        images: Numbers of training, validation and test images, and the fewest training images
            that a class gave.
        weights: Hashes of the backbone's weights.
        identity: Hash of everything that the run depends on.
        config: The method's options.
        log: Means of each epoch.
        best_epoch: The epoch of ``best_val``.
        seconds: Wall time.
    """

    method: str
    preset: str
    dataset: str
    backbone: str
    data: str
    shots: int
    seed: int
    headline: str
    accuracies: dict[str, float]
    factors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    identity: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    seconds: float = 0.0
    images: dict[str, int] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Test accuracy in per cent under the headline protocol."""
        return self.accuracies[self.headline]

    def as_record(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return asdict(self)
