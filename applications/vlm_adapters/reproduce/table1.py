"""Table 1: ImageNet, ResNet-50. Run ``python -m vlm_adapters.reproduce.table1 --help``."""

from ._plan import Plan, Variant
from ._script import main

PLAN = Plan(
    table=1,
    variants=(
        Variant(
            ".",
            (
                "zero_shot", "clip_adapter", "taskres", "hc_tr", "taskres_star", "hc_tr_star",
                "tip_adapter", "tip_adapter_f", "hc_taf", "hc_taf_off", "tip_adapter_f_star",
                "hc_taf_star",
            ),
        ),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(PLAN)
