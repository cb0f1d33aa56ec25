"""Table 2: from 16-shot ImageNet to four variants, four backbones."""

from ..results.comparison import TARGETS
from ._plan import Plan, Variant
from ._script import main

MODELS = ("RN50", "RN101", "ViT-B-32", "ViT-B-16")
METHODS = ("zero_shot", "linear_probe", "taskres", "hc_tr", "tip_adapter_f", "hc_taf", "hc_taf_off")
PLAN = Plan(
    table=2,
    variants=tuple(Variant(name, METHODS, model=name) for name in MODELS),
    shots=(16,),
    targets=TARGETS,
)

if __name__ == "__main__":
    main(PLAN)
