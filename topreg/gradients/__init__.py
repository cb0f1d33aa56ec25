"""Backward passes that combine the gradients of several losses."""
