"""The shipped presets in their order, and what each is compared with."""

from __future__ import annotations

from collections.abc import Iterable

PRESETS = (
    "zero_shot", "zero_shot_star", "linear_probe", "clip_adapter", "hc_clip_adapter",
    "taskres", "taskres_official", "hc_tr", "hc_tr_paper", "taskres_star", "hc_tr_star",
    "tip_adapter", "tip_adapter_f", "hc_taf", "hc_taf_paper",
    "tip_adapter_f_official", "hc_taf_released", "hc_taf_released_off",
    "tip_adapter_f_star", "hc_taf_star",
    "hc_tr_off", "hc_tr_tc", "hc_tr_dp", "hc_tr_p1",
    "hc_taf_off", "hc_taf_tc", "hc_taf_dp", "hc_taf_p1",
)  # fmt: skip
BASELINES = {
    "hc_clip_adapter": "clip_adapter",
    "hc_tr": "taskres", "hc_tr_paper": "taskres", "hc_tr_star": "taskres_star",
    "hc_tr_off": "hc_tr", "hc_tr_tc": "hc_tr", "hc_tr_dp": "hc_tr", "hc_tr_p1": "hc_tr",
    "hc_taf": "tip_adapter_f", "hc_taf_paper": "tip_adapter_f",
    "hc_taf_released": "hc_taf_released_off",
    "hc_taf_star": "tip_adapter_f_star",
    "hc_taf_off": "hc_taf", "hc_taf_tc": "hc_taf", "hc_taf_dp": "hc_taf", "hc_taf_p1": "hc_taf",
}  # fmt: skip
"""What each form is compared with: the method without the constraint; ablations, the whole one."""


def place_of(preset: str) -> tuple[int, str]:
    """What presets are sorted by: the shipped ones in their order, then others by name.

    Args:
        preset: Name of a preset.

    Returns:
        Its key.
    """
    return (PRESETS.index(preset) if preset in PRESETS else len(PRESETS), preset)


def pairs_of(presets: Iterable[str]) -> dict[str, str]:
    """The baseline of each constrained preset, where both are there.

    Args:
        presets: Names of presets.

    Returns:
        Baselines by preset.
    """
    there = set(presets)
    return {form: plain for form, plain in BASELINES.items() if {form, plain} <= there}
