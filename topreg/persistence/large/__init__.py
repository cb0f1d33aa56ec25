"""Dimension 0 of more points than a matrix holds, and over the ranks of a process group.

Begin with ``_certificates.py``: components join along listed edges that are certainly the shortest.
"""
