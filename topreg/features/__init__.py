"""Diagrams as vectors, for heads that classify or regress on topology."""
