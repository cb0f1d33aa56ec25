"""Dimension 0 from distance matrices.

Begin with ``_prim.py`` for the CPU. ``_device.py`` chooses on other devices: one launch for small
clouds (``_triton_kernels.py``), or ``_boruvka.py``, in torch operations.
"""
