"""Any dimension through GUDHI or giotto-ph, with the same order on ties: ``_higher.py``."""
