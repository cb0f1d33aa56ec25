"""Hypothesis profiles: ``dev`` while writing, ``ci`` for every change, ``mutation`` for mutmut."""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile(
    "ci",
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # the first example compiles the engines
)
settings.register_profile(
    "mutation",
    parent=settings.get_profile("ci"),
    max_examples=50,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
