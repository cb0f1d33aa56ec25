"""One representation for one cloud and for many: the disjoint union.

``(n, d)``, ``(b, n, d)`` and a sequence of ``(n_i, d)`` all become one matrix of rows and the
sizes of the clouds; vertices are numbered cloud after cloud.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks

Clouds = Tensor | Sequence[Tensor]


def join(points: Clouds, name: str = "points") -> tuple[Tensor, tuple[int, ...]]:
    """Return the rows of all clouds, and how many each cloud has."""
    if isinstance(points, Tensor):
        if points.ndim == 3:
            _checks.is_floating(name, points)
            return points.flatten(0, 1), (points.shape[1],) * points.shape[0]
        _checks.is_point_cloud(name, points)
        return points, (points.shape[0],)
    clouds = _as_list(points, name)
    for cloud in clouds:
        _checks.is_point_cloud(name, cloud)
    _have_one_width(name, clouds)
    are_alike(name, "clouds", clouds)
    return torch.cat(clouds), tuple(len(cloud) for cloud in clouds)


def join_labels(labels: Clouds) -> tuple[Tensor, tuple[int, ...]]:
    """Return the labels of all clouds as one vector, and how many each cloud has."""
    if isinstance(labels, Tensor):
        _checks.is_not_one_hot(labels)
        _checks.is_integer("labels", labels)
        if labels.ndim == 2:
            return labels.flatten(), (labels.shape[1],) * labels.shape[0]
        _checks.has_rank("labels", labels, "(n,)")
        return labels, (len(labels),)
    parts = _as_list(labels, "labels")
    for part in parts:
        _checks.is_integer("labels", part)
        _checks.has_rank("labels", part, "(n,)")
    return torch.cat(parts), tuple(len(part) for part in parts)


def join_matrices(distances: Clouds, name: str = "points") -> tuple[Tensor, tuple[int, ...]]:
    """Return the entries of square matrices, one matrix after the other, and their sizes."""
    if isinstance(distances, Tensor) and distances.ndim == 3:
        _checks.is_floating(name, distances, of_distances=True)
        batch, rows, columns = distances.shape
        if rows != columns:
            raise ValueError(
                f"`{name}` should hold square matrices (b, n, n). Got {tuple(distances.shape)}."
            )
        return distances.reshape(-1), (rows,) * batch
    if isinstance(distances, Tensor):
        _checks.is_square(name, distances)
        return distances.reshape(-1), (distances.shape[0],)
    matrices = _as_list(distances, name, of_distances=True)
    for matrix in matrices:
        _checks.is_square(name, matrix)
    are_alike(name, "matrices", matrices)
    return torch.cat([matrix.reshape(-1) for matrix in matrices]), tuple(map(len, matrices))


def starts(sizes: Sequence[int]) -> list[int]:
    """Return the number of the first vertex of each cloud, then the number of vertices."""
    first = [0]
    for size in sizes:
        first.append(first[-1] + size)
    return first


def have_one_size(sizes: Sequence[int]) -> bool:
    """Return whether there are clouds and all have the same size.

    Sizes are compared: hashing them in a set would make the compiler specialise on each number.
    """
    return len(sizes) > 0 and all(size == sizes[0] for size in sizes)


def cloud_of(vertices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the number of the cloud to which each vertex belongs."""
    if have_one_size(sizes) and sizes[0]:
        return vertices // sizes[0]
    return torch.bucketize(vertices.contiguous(), numbers(starts(sizes)[1:], vertices), right=True)


def numbers(values: Sequence[int], like: Tensor) -> Tensor:
    """Return integers on the device of a tensor, without a copy that would wait for the device."""
    steps = [b - a for a, b in itertools.pairwise(values)] or [1]
    if len(values) and have_one_size(steps) and steps[0] > 0:
        return torch.arange(values[0], values[-1] + 1, steps[0], device=like.device)
    if like.device.type == "cpu" or not len(values):
        return torch.tensor(values, dtype=torch.int64, device=like.device)
    return torch.cat([torch.full((1,), value, device=like.device) for value in values])


def _as_list(points: Sequence[Tensor], name: str, *, of_distances: bool = False) -> list[Tensor]:
    """Return the clouds of a non-empty sequence; raise for anything else."""
    if not isinstance(points, Sequence):
        _checks.is_tensor(name, points, of_distances=of_distances)
    if len(points) == 0:
        raise ValueError(f"`{name}` should hold at least one cloud. Got an empty sequence.")
    for cloud in points:
        _checks.is_tensor(name, cloud, of_distances=of_distances)
    return list(points)


def _have_one_width(name: str, clouds: Sequence[Tensor]) -> None:
    """Raise if clouds differ in width."""
    widths = sorted({cloud.shape[1] for cloud in clouds})
    if len(widths) > 1:
        raise ValueError(
            f"`{name}` should hold clouds with the same number of coordinates. "
            f"Got {', '.join(map(str, widths))}."
        )


def are_alike(name: str, what: str, parts: Sequence[Tensor]) -> None:
    """Raise if parts differ in dtype or device."""
    if len({(part.dtype, part.device) for part in parts}) > 1:
        kinds = dict.fromkeys(f"{part.dtype} on {part.device}" for part in parts)
        raise ValueError(
            f"`{name}` should hold {what} of one dtype on one device. Got {' and '.join(kinds)}."
        )
