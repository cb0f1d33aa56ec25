"""Data sets: their splits, few-shot tasks, folders and layouts; begin reading at ``splits``."""
