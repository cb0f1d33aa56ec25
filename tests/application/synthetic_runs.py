"""Runs that nobody made: chosen accuracies, real options of the shipped presets."""

from dataclasses import asdict
from functools import lru_cache

from vlm_adapters.config import load_methods
from vlm_adapters.runs import Run

RN50 = "open_clip/RN50/openai"


@lru_cache
def method(preset, *overrides):
    """The options of a preset, ``section.key=value`` laid over them."""
    return load_methods([preset], overrides=[f"{preset}.{text}" for text in overrides])[preset]


def run(preset, value, *overrides, **options):
    """A run of a shipped preset with one headline accuracy."""
    return run_of(method(preset, *overrides), preset, value, **options)


def run_of(
    options,
    preset,
    value,
    *,
    shots=16,
    seed=1,
    dataset="imagenet",
    backbone=RN50,
    data="online",
    epochs=0,
    **protocols,
):
    """A run with one headline accuracy; further accuracies by protocol."""
    others = {name.replace("__", "+"): number for name, number in protocols.items()}
    constrained = float(options.constraint.weight > 0)
    log = [
        {
            "learning_rate": 1e-3,
            "cross_entropy": 2 / epoch,
            "track_coincidence": constrained * (0.5 + 0.5 / epoch),
            "deviating_perturbation": constrained * 0.3,
            "val_accuracy": 90 - 30 / epoch + seed,
        }
        for epoch in range(1, epochs + 1)
    ]
    return Run(
        method=options.title,
        preset=preset,
        dataset=dataset,
        backbone=backbone,
        data=data,
        shots=shots,
        seed=seed,
        headline=options.protocol,
        accuracies={options.protocol: float(value), **others},
        config=asdict(options),
        log=log,
        seconds=0.5,
    )


def seeds(preset, values, *overrides, **options):
    """One run for each value, seeds from 1."""
    return [run(preset, v, *overrides, seed=seed, **options) for seed, v in enumerate(values, 1)]
