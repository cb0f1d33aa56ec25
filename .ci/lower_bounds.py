"""Prints the lower bounds of all dependencies as constraints for pip.

``python .ci/lower_bounds.py > low.txt && pip install -c low.txt '.[vlm,test]' &&
pytest -W ignore::DeprecationWarning``: old versions meet newer ones of what they need.
"""

from __future__ import annotations

import re
from pathlib import Path

BOUND = re.compile(r"^\s*\"([A-Za-z0-9_.-]+)>=([0-9.]+)", re.MULTILINE)
TOOLS = {"ruff", "mypy", "hatchling"}  # whose newer versions say the same in other words

text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
for name, version in sorted(set(BOUND.findall(text))):
    if name not in TOOLS:
        print(f"{name}=={version}")
