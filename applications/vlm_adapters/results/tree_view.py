"""A batch's minimum spanning tree, seen in an adapter's views."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, pad

from topreg import RipsFiltration, edge_vectors

from ..adapters import Adapter

__all__ = ["TreeView", "project", "tree_view"]

EPS = 1e-8  # shorter tracks have no direction, as in topreg.track_coincidence


class TreeView(NamedTuple):
    """A batch's tree in one adapter's views.

    Attributes:
        edges: Edges of the minimum spanning tree of the images.
        cosines: Between the two tracks of each edge; NaN where one has no direction.
        tuned: What training moves: the view that is not the images.

    Shape:
        - edges: (m, 2). cosines: (m,). tuned: (n, e).
    """

    edges: Tensor
    cosines: Tensor
    tuned: Tensor

    @property
    def coincidence(self) -> float:
        """Track coincidence: one minus the mean cosine of the edges that have one."""
        known = self.cosines[~self.cosines.isnan()]
        return float(1 - known.mean()) if len(known) else 0.0


@torch.no_grad()
def tree_view(adapter: Adapter, features: Tensor, labels: Tensor) -> TreeView:
    """The tree of a batch and the cosines that track coincidence averages.

    Args:
        adapter: Whose views are compared.
        features: Image features of unit length.
        labels: Their classes.

    Returns:
        Edges, cosines, and the tuned view.

    Shape:
        - features: (n, d). labels: (n,), int64.
    """
    geometry, source, target = adapter.views(features, labels)
    edges = RipsFiltration().pairs(geometry).death_edges
    tracks = edge_vectors(source, edges), edge_vectors(target, edges)
    cosines = cosine_similarity(*tracks, dim=1)
    undirected = torch.stack([track.norm(dim=1) <= EPS for track in tracks]).any(0)
    cosines[undirected] = torch.nan
    same = source.shape == geometry.shape and torch.equal(source, geometry)
    return TreeView(edges, cosines, target if same else source)


def project(*clouds: Tensor) -> list[Tensor]:
    """Points on the first two principal directions of all clouds together.

    Args:
        clouds: Point clouds of one space.

    Returns:
        Their coordinates; the sign of each direction makes its largest entry positive.

    Shape:
        - clouds: (n_i, d). Output: (n_i, 2).
    """
    rows = torch.cat(clouds).double()
    centred = rows - rows.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    flat = centred @ (directions * largest.sign()).T
    flat = pad(flat, (0, 2 - flat.shape[1]))
    return list(flat.split([len(cloud) for cloud in clouds]))
