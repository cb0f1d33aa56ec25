"""Losses within one space or across two, each a function and a module in one file."""
