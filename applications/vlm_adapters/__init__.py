"""Adapters for vision-language models, with and without the homology-consistency constraint."""
