"""Dimension 0 from distance matrices.

Begin with ``_prim.py`` for the CPU; ``_boruvka.py`` works in torch operations on any device.
"""
