"""Rows of earlier batches, so that a loss on few samples sees more of their classes."""

import itertools
from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor

from topreg import _checks
from topreg._module import constructor_call
from topreg._safe import plain_tensor

CLASSES = ("current", "all")


class CrossBatchMemory:
    r"""Append the rows of earlier batches, without gradient, to those of the current one.

    .. math::

        X \leftarrow [X;\; \mathrm{sg}(X_{t-1})_{\mathcal{C}};\; \dots;\;
        \mathrm{sg}(X_{t-B})_{\mathcal{C}}]

    :math:`\mathcal{C}` are the classes whose stored rows are appended; sg stops gradients.
    Features, rows of a :term:`proxy space` and labels of one sample keep one row number. It works
    with any loss that takes one row per sample.

    Args:
        batches: Number B of batches to keep.
        classes: ``"current"`` appends the stored rows whose label occurs in the current batch,
            ``"all"`` every stored row.

    Raises:
        ValueError: If ``batches`` is not a positive integer or ``classes`` is unknown.

    Note:
        Stored rows are copies on the device of their batch: memory :math:`O(B n d)`. They were
        computed with the parameters of their time.

    Source:
        Wang et al., Cross-batch memory for embedding learning, CVPR 2020. The code of Zhang et al.,
        NeurIPS 2024, keeps one batch and appends the current classes, which is the default here.

    Example:
        >>> import torch
        >>> from topreg import CrossBatchMemory
        >>> memory = CrossBatchMemory()
        >>> labels, images = memory.join(torch.tensor([0, 1]), images=torch.tensor([[1.0], [2.0]]))
        >>> labels, images = memory.join(torch.tensor([1, 2]), images=torch.tensor([[3.0], [4.0]]))
        >>> labels, images
        (tensor([1, 2, 1]), tensor([[3.],
                [4.],
                [2.]]))
    """

    def __init__(self, batches: int = 1, *, classes: str = "current") -> None:
        batches = _checks.is_count("batches", batches)
        _checks.is_option("classes", classes, CLASSES)
        self.batches = batches
        self.classes = classes
        self._stored: deque[dict[str, Tensor]] = deque(maxlen=batches)

    def __len__(self) -> int:
        """Return the number of stored rows."""
        return sum(len(batch["labels"]) for batch in self._stored)

    def __repr__(self) -> str:
        """Return the call that makes an equal, empty memory."""
        return constructor_call(self)

    def join(self, labels: Tensor, **tensors: Tensor) -> tuple[Tensor, ...]:
        """Append stored rows to this batch, then store this batch.

        Args:
            labels: Label of each sample.
            tensors: Tensors with one row per sample, under the same names in every call.

        Returns:
            The labels and the tensors, in the given order. The rows of this batch come first and
            keep their gradient, then those of the newest stored batch, and so on.

        Raises:
            TypeError: If ``labels`` are not integers or an argument is not a tensor.
            ValueError: If there is not one row per label, or names, widths or dtypes differ from
                the stored ones. Then nothing is stored.

        Shape:
            - labels: :math:`(n,)`; tensors: :math:`(n, ...)`.
        """
        batch = {"labels": labels, **tensors}
        _check_rows(batch)
        if self._stored:
            _check_alike(self._stored[-1], batch, "tensors", " Call `clear()` first.")
        stored = [self._chosen(old, labels) for old in reversed(self._stored)]
        joined = [torch.cat([batch[name], *(old[name] for old in stored)]) for name in batch]
        self._stored.append({name: tensor.detach().clone() for name, tensor in batch.items()})
        return tuple(map(plain_tensor, joined))

    def clear(self) -> None:
        """Forget everything, for instance at the start of an epoch."""
        self._stored.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of the stored rows, for a checkpoint next to those of a model.

        Returns:
            Plain tensors, under ``"0.labels"`` and so on, the oldest batch first.
        """
        return {
            f"{age}.{name}": plain_tensor(tensor.clone())
            for age, batch in enumerate(self._stored)
            for name, tensor in batch.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Store what :meth:`state_dict` returned, without gradient, in place of what is stored.

        If it holds more batches than this memory keeps, the newest are stored.

        Args:
            state_dict: The tensors, by name.

        Raises:
            TypeError: If labels are not integers or a value is not a tensor.
            ValueError: If :meth:`state_dict` does not give such a name, the tensors of a batch do
                not have one row per label, or two batches differ in names, widths, dtypes or
                devices. Then the memory stays as it was.
        """
        _checks.is_mapping("state_dict", state_dict)
        batches: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state_dict.items():
            age, dot, name = key.partition(".")
            if not (dot and name and age.isdecimal()):
                raise ValueError(
                    f"`state_dict` should be what `state_dict()` returned. Got the name {key!r}."
                )
            batches.setdefault(int(age), {})[name] = tensor
        for number, batch in batches.items():
            if "labels" not in batch:
                raise ValueError(f'`state_dict` should hold labels. Got no "{number}.labels".')
            _check_rows(batch)
        constant = (
            {name: tensor.detach().clone() for name, tensor in batches[age].items()}
            for age in sorted(batches)
        )
        stored = deque(constant, maxlen=self.batches)
        for old, new in itertools.pairwise(stored):
            _check_alike(old, new, "state_dict")
        self._stored = stored

    def _chosen(self, old: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Return the rows of one stored batch that are appended."""
        if self.classes == "all":
            return old
        mask = torch.isin(old["labels"].long(), labels.long())  # isin does not take booleans
        return {name: tensor[mask] for name, tensor in old.items()}


def _check_rows(batch: Mapping[str, Tensor]) -> None:
    """Raise unless each tensor has one row per label."""
    labels = batch["labels"]
    _checks.is_integer("labels", labels)
    _checks.has_rank("labels", labels, "(n,)")
    for name, tensor in batch.items():
        _checks.is_tensor(name, tensor)
        if tensor.ndim == 0 or len(tensor) != len(labels):
            raise ValueError(
                f"`{name}` should have one row per label, {len(labels)}. "
                f"Got {_checks.shape(tensor)}."
            )


def _check_alike(
    old: Mapping[str, Tensor], batch: Mapping[str, Tensor], given_as: str, cure: str = ""
) -> None:
    """Raise if a batch cannot be joined to the one before it."""
    if set(old) != set(batch):
        had, has = (", ".join(sorted(set(b) - {"labels"})) or "(none)" for b in (old, batch))
        raise ValueError(
            f"`{given_as}` should have the names {had} of the batch before. Got {has}.{cure}"
        )
    for name, new in batch.items():
        kept = old[name]
        for what, stored, given in (
            ("have rows of shape", tuple(kept.shape[1:]), tuple(new.shape[1:])),
            ("be", kept.dtype, new.dtype),
            ("be on", kept.device, new.device),
        ):
            if stored != given:
                raise ValueError(
                    f"`{name}` should {what} {stored}, like the stored rows. Got {given}.{cure}"
                )
