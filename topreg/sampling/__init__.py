"""Choosing rows: landmarks of large clouds, and rows of earlier batches."""
