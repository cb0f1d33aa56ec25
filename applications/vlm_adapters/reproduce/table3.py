"""Table 3: ImageNet, the two terms of the constraint apart."""

from ._plan import Plan, Variant
from ._script import main

PLAN = Plan(
    table=3,
    variants=(
        Variant(".", ("taskres", "hc_tr_tc", "hc_tr_dp", "hc_tr")),
        Variant(".", ("tip_adapter_f", "hc_taf_off", "hc_taf_tc", "hc_taf_dp", "hc_taf")),
    ),
)

if __name__ == "__main__":
    main(PLAN)
