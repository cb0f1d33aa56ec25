"""The cubical filtration of images."""

from typing import final

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._module import constructor_call
from topreg._pairs import PersistencePairs, check_pairs
from topreg.filtrations._filtration import Filtration
from topreg.persistence.images import _images

CONSTRUCTIONS = ("T", "V")
OUTSIDE = ("open", "foreground")


@final
class CubicalFiltration(Filtration):
    r"""Cubical filtration of images: pixels appear in the order of their values.

    .. math::

        K_a = \{v : x_v \le a\}

    Every channel of every image is a cloud whose vertices are its pixels. A class is born at one
    pixel and dies at another, so birth and death edges are (v, v). Pixels are ordered by (value,
    index). Pairs whose birth and death have the same value are left out. The component of the first
    pixel is :term:`essential <essential class>`.

    Args:
        construction: ``"T"``: pixels are squares; 8 neighbours connect components, 4 connect holes.
            ``"V"``: pixels are vertices; 4 neighbours connect components, 8 connect holes. In
            volumes 26 and 6 take the place of 8 and 4.
        superlevel: Whether bright pixels come first. Births and deaths are then those of the
            negated image, so that a death is never before its birth.
        outside: What lies beyond the border. ``"open"``: nothing, so that a hole must not touch
            the border. ``"foreground"``: a frame that exists from the start, so that it closes a
            loop that the border cuts. The frame's component and the loop around the image have no
            pixel and are left out.
        ndim: 2 for images; 3 for volumes, in which dimensions 0 and 2 are found.
        check_values: Whether to check the images for NaN and infinity. Without it the result for
            such images is undefined.

    Raises:
        ValueError: If an option is unknown.

    Shape:
        - data: :math:`(h, w)`, :math:`(b, h, w)`, :math:`(b, c, h, w)` or a sequence of
          :math:`(h_i, w_i)`; volumes with :math:`(d, h, w)` in place of :math:`(h, w)`.

    Note:
        A vertex is the index of its pixel in the flattened batch. Images of n pixels with s saddles
        take time :math:`O(n \alpha(n) + s)` for both dimensions, and sorting the saddles; volumes
        take :math:`O(n \log n)`. Threads share the images of a batch. Images on a device pass
        through the CPU. Pairs are sorted by death in dimension 0, by birth in dimension 1, and by
        birth in descending order in dimension 2.

    Source:
        Garin et al., Duality in persistent homology of images, 2020: T is GUDHI's
        ``CubicalComplex(top_dimensional_cells=...)``, V is its ``vertices=...`` and cripser's
        default. Both leave the border open.

    Example:
        >>> import torch
        >>> from topreg import CubicalFiltration
        >>> ring = torch.tensor([[1.0, 1.0, 2.0], [1.0, 9.0, 1.0], [1.0, 1.0, 1.0]])
        >>> filtration = CubicalFiltration(construction="V")
        >>> filtration.pairs(ring, 1).death_edges  # the pixel in the middle fills the hole
        tensor([[4, 4]])
        >>> filtration(ring, 1)
        tensor([[2., 9.]])
    """

    def __init__(
        self,
        *,
        construction: str = "T",
        superlevel: bool = False,
        outside: str = "open",
        ndim: int = 2,
        check_values: bool = True,
    ) -> None:
        super().__init__()
        _checks.is_option("construction", construction, CONSTRUCTIONS)
        _checks.is_option("outside", outside, OUTSIDE)
        if _checks.is_count("ndim", ndim) not in (2, 3):
            raise ValueError(f"`ndim` should be 2 or 3. Got {ndim!r}.")
        self.construction = construction
        self.superlevel: bool = bool(superlevel)
        self.outside = outside
        self.ndim: int = int(ndim)
        self.check_values: bool = bool(check_values)

    def __repr__(self) -> str:
        """Return the call that makes an equal filtration."""
        return constructor_call(self)

    def pairs(self, data: Clouds, dimension: int = 0) -> PersistencePairs:
        return self._find(data, [self._check_dimension(dimension)])[0]

    def all_pairs(self, data: Clouds, max_dimension: int) -> tuple[PersistencePairs, ...]:
        highest = self._check_dimension(max_dimension, "max_dimension", every=True)
        return tuple(self._find(data, list(range(highest + 1))))

    def diagram(self, pairs: PersistencePairs, data: Clouds) -> Tensor:
        images = _images.join_images(data, self.ndim)
        check_pairs(pairs, images.pixels, images.sizes, "images")
        pixels = torch.stack([pairs.birth_edges[:, 0], pairs.death_edges[:, 0]], dim=1)
        values = images.pixels.index_select(0, pixels.flatten()).view(-1, 2)
        return -values if self.superlevel else values

    def _find(self, data: Clouds, dimensions: list[int]) -> list[PersistencePairs]:
        """Find pairs in some dimensions."""
        found = None
        if self.ndim == 2:
            found = _images.pairs_of_plain(data, dimensions, self._rules(), self.check_values)
        return found or self._search(self._join(data, "images"), dimensions)

    def _join(self, data: Clouds, name: str) -> _images.Images:
        """Return the pixels of images after checking them."""
        return _images.check_images(
            _images.join_images(data, self.ndim, name), self.check_values, name
        )

    def _search(self, images: _images.Images, dimensions: list[int]) -> list[PersistencePairs]:
        """Find pairs in images that have been checked."""
        return _images.pairs_of_images(images, dimensions, self._rules())

    def _rules(self) -> _images.Rules:
        """Return how pixels are ordered and joined."""
        return self.construction == "T", self.superlevel, self.outside == "foreground"

    def _check_dimension(
        self, dimension: object, name: str = "dimension", every: bool = False
    ) -> int:
        """Return a dimension as int; raise if it is not available, or one below it is not."""
        found = _checks.natural(dimension)
        if self.ndim == 3 and (found == 1 or (every and found == 2)):
            find = "Find dimensions 0 and 2 with `pairs`."
            cure = "Pass `dimensions=(0, 2)`." if name == "dimensions" else find
            raise ValueError(
                f"`{name}` should be {'0' if every else '0 or 2'} for volumes. Got {found}. {cure} "
                "`topreg.image_metrics.BettiNumbers` also counts the loops of masks."
            )
        if not 0 <= found < self.ndim:
            available = "0 or 1" if self.ndim == 2 else "0 or 2"
            raise ValueError(
                f"`{name}` should be {available} for a CubicalFiltration with `ndim={self.ndim}`. "
                f"Got {dimension!r}."
            )
        return found
