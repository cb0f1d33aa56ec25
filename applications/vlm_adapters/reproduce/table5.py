"""Table 5: eleven data sets, ResNet-50."""

from ._plan import ELEVEN, Plan, Variant
from ._script import main
from .table1 import PLAN as TABLE1

PLAN = Plan(table=5, variants=(Variant(".", TABLE1.variants[0].presets),), datasets=ELEVEN)

if __name__ == "__main__":
    main(PLAN)
