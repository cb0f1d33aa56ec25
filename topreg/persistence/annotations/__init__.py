"""Dimensions 0 and 1 on the CPU, by annotations.

Begin with ``_annotations.py``, then ``_dense_kernels.py``: edges enter in their order, and each
carries the values that the living cocycles take on it. ``_sparse_kernels.py`` does this with lists
of neighbours in place of bitsets. ``_edge_kernels.py`` sorts edges.
"""
