"""Table 4: 16-shot ImageNet, the factors of the constraint.

The paper chose its factors here, on the images that it reports.
"""

from ._plan import Plan, Variant
from ._script import main

GRIDS = {
    ("hc_tr", "weight"): (0.05, 0.10, 0.15, 0.20, 0.25),  # of the logit scale: 5 to 25
    ("hc_tr", "perturbation_weight"): (1.5, 2.0, 3.0, 3.5),  # 2.5 is a point of the first grid
    ("hc_taf", "weight"): (0.1, 0.2, 0.3, 0.4, 0.5),
    ("hc_taf", "perturbation_weight"): (50.0, 150.0, 200.0, 250.0),  # 100 likewise
}
CHOSEN = {  # by the paper: the factor that stands still while the other varies
    "hc_tr": {"weight": 0.15, "perturbation_weight": 2.5},
    "hc_taf": {"weight": 0.4, "perturbation_weight": 100.0},
}


def variant(preset: str, key: str, value: float) -> Variant:
    """One point of a grid; both factors are set, whatever was tuned."""
    factors = CHOSEN[preset] | {key: value}
    overrides = tuple(f"{preset}.constraint.{name}={factor}" for name, factor in factors.items())
    return Variant(f"{preset}-{key}-{value:g}", (preset,), overrides)


PLAN = Plan(
    table=4,
    variants=tuple(
        variant(preset, key, value) for (preset, key), values in GRIDS.items() for value in values
    ),
    shots=(16,),
)

if __name__ == "__main__":
    main(PLAN)
