"""Scripts that repeat the paper's tables and figure; each is a plan for ``vlm-adapters sweep``."""
