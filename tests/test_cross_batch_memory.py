"""Rows of earlier batches: which are taken, in which order, with which gradient."""

import numpy as np
import pytest
import torch
from asserts import refused, repr_round_trips
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from topreg import CrossBatchMemory, DeviatingPerturbation, TrackCoincidence


def rows_of(labels, start):
    """A row for each label that says when it came."""
    return start + torch.arange(float(len(labels)))[:, None] / 100


batches_of_labels = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=6)


@given(batches_of_labels, st.integers(1, 4), st.sampled_from(["current", "all"]))
def test_the_rows_that_are_taken(history, kept, classes):
    memory, past = CrossBatchMemory(kept, classes=classes), []
    for step, labels in enumerate(history):
        images = rows_of(labels, step)
        found, joined = memory.join(torch.tensor(labels, dtype=torch.int64), images=images)
        expected = list(zip(labels, images[:, 0].tolist(), strict=True))
        for old_labels, old_images in past[: -kept - 1 : -1]:
            expected += [
                (label, value)
                for label, value in zip(old_labels, old_images[:, 0].tolist(), strict=True)
                if classes == "all" or label in labels
            ]
        assert list(zip(found.tolist(), joined[:, 0].tolist(), strict=True)) == expected
        past.append((labels, images))
        assert len(memory) == sum(len(old) for old, _ in past[-kept:])


def test_the_number_of_batches_may_be_of_any_integer_type():
    memory = CrossBatchMemory(np.int64(2))
    assert repr(memory) == repr(CrossBatchMemory(2))


def test_labels_may_be_booleans():
    memory = CrossBatchMemory()
    memory.join(torch.tensor([True, False]), x=torch.tensor([1.0, 2.0]))
    labels, x = memory.join(torch.tensor([True]), x=torch.tensor([3.0]))
    assert_close(labels, torch.tensor([True, True]))
    assert_close(x, torch.tensor([3.0, 1.0]))


def test_gradient_reaches_the_new_rows_alone():
    memory = CrossBatchMemory()
    old = torch.ones(2, 3, requires_grad=True)
    labels = torch.tensor([0, 1])
    memory.join(labels, images=2 * old)
    new = torch.ones(2, 3, requires_grad=True)
    _, joined = memory.join(labels, images=2 * new)
    joined.sum().backward()
    assert old.grad is None
    assert_close(new.grad, torch.full((2, 3), 2.0))
    new.data.zero_()
    assert_close(memory.join(labels, images=new)[1][2:], torch.full((2, 3), 2.0))


def test_it_composes_with_losses():
    memory = CrossBatchMemory(2)
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(3, 4, generator=generator, requires_grad=True)
    for step in range(4):
        labels = torch.randint(0, 3, (6,), generator=generator)
        images = torch.randn(6, 4, generator=generator, requires_grad=True)
        joined, x, t = memory.join(labels, images=images, texts=prototypes[labels])
        loss = TrackCoincidence()(x, t) + DeviatingPerturbation(related="all")(x, t, joined)
        loss.backward()
        assert len(joined) == len(x) == len(t) >= 6 + (step > 0)
        assert bool(images.grad.isfinite().all())


def test_a_state_dict_can_be_saved_and_loaded(tmp_path):
    memory = CrossBatchMemory(2, classes="all")
    for step in range(3):
        memory.join(torch.tensor([step]), images=torch.full((1, 2), float(step)))
    other = CrossBatchMemory(2, classes="all")
    torch.save(memory.state_dict(), tmp_path / "memory.pt")
    other.load_state_dict(torch.load(tmp_path / "memory.pt", weights_only=True))
    for one, two in zip(
        *(m.join(torch.tensor([9]), images=torch.zeros(1, 2)) for m in (memory, other)), strict=True
    ):
        assert_close(one, two)
    other.clear()
    assert len(other) == 0
    assert other.state_dict() == {}
    repr_round_trips(CrossBatchMemory(3, classes="all"))


MESSAGES = {
    "`images` should have one row per label, 2. Got (3, 1).": {"images": torch.zeros(3, 1)},
    "`images` should have one row per label, 2. Got ().": {"images": torch.tensor(0.0)},
    "`tensors` should have the names images of the batch before. Got images, texts. "
    "Call `clear()` first.": {
        "images": torch.zeros(2, 1),
        "texts": torch.zeros(2, 1),
    },
    "`images` should be torch.float32, like the stored rows. Got torch.float64. "
    "Call `clear()` first.": {"images": torch.zeros(2, 1, dtype=torch.float64)},
    "`images` should have rows of shape (1,), like the stored rows. Got (2,). "
    "Call `clear()` first.": {"images": torch.zeros(2, 2)},
}


@pytest.mark.parametrize(("text", "tensors"), MESSAGES.items())
def test_a_batch_that_does_not_fit_is_refused_and_not_stored(text, tensors):
    memory = CrossBatchMemory()
    labels = torch.tensor([0, 1])
    memory.join(labels, images=torch.ones(2, 1))
    with refused(ValueError, text):
        memory.join(labels, **tensors)
    assert_close(memory.join(labels, images=torch.zeros(2, 1))[1][2:], torch.ones(2, 1))


def test_other_messages():
    with refused(ValueError, "`batches` should be a positive integer. Got 0."):
        CrossBatchMemory(0)
    with refused(ValueError, "`batches` should be a positive integer. Got True."):
        CrossBatchMemory(True)
    with refused(ValueError, '`classes` should be "current" or "all". Got \'every\'.'):
        CrossBatchMemory(classes="every")
    with refused(TypeError, "`labels` should be integers. Got torch.float32."):
        CrossBatchMemory().join(torch.zeros(2))
    with refused(ValueError, '`state_dict` should hold labels. Got no "0.labels".'):
        CrossBatchMemory().load_state_dict({"0.images": torch.zeros(2)})
    memory, ones = CrossBatchMemory(), torch.ones(2, dtype=torch.int64)
    memory.join(ones)
    with refused(ValueError, "`x` should have one row per label, 2. Got (5,)."):
        memory.load_state_dict({"0.labels": ones, "0.x": torch.zeros(5)})
    with refused(
        ValueError,
        "`tensors` should have the names (none) of the batch before. Got x. Call `clear()` first.",
    ):
        memory.join(ones, x=ones)
    with pytest.raises(ValueError, match=r"^`state_dict` should have the names x of .* Got y\."):
        CrossBatchMemory(2).load_state_dict(
            {"0.labels": ones, "0.x": ones, "1.labels": ones, "1.y": ones}
        )
    assert len(memory) == 2


@pytest.mark.parametrize("name", ["images", "0", "0.", "x.labels", ".labels", "labels"])
def test_names_that_a_state_dict_does_not_have(name):
    text = f"`state_dict` should be what `state_dict()` returned. Got the name {name!r}."
    with refused(ValueError, text):
        CrossBatchMemory().load_state_dict({name: torch.zeros(2, dtype=torch.int64)})


def test_a_smaller_memory_keeps_the_newest_batches_and_goes_on():
    large, small = CrossBatchMemory(3, classes="all"), CrossBatchMemory(2, classes="all")
    for step in range(3):
        large.join(torch.tensor([step]), **{"a.b": torch.tensor([float(step)])})
    small.load_state_dict(large.state_dict())
    assert len(small) == 2
    small.join(torch.tensor([3]), **{"a.b": torch.tensor([3.0])})
    labels, values = small.join(torch.tensor([4]), **{"a.b": torch.tensor([4.0])})
    assert labels.tolist() == values.tolist() == [4, 3, 2]


def test_labels_of_two_axes():
    with refused(ValueError, "`labels` should have shape (n,). Got (2, 1)."):
        CrossBatchMemory().join(torch.zeros(2, 1, dtype=torch.int64))


def test_loaded_rows_carry_no_gradient():
    memory = CrossBatchMemory()
    rows = torch.ones(2, 3, requires_grad=True)
    memory.load_state_dict({"0.labels": torch.tensor([0, 1]), "0.x": rows})
    _, joined = memory.join(torch.tensor([0, 1]), x=torch.zeros(2, 3))
    assert not joined.requires_grad
    assert_close(joined[2:], torch.ones(2, 3))


def test_what_is_stored_is_a_copy():
    memory = CrossBatchMemory(2)
    given = torch.ones(1, 1)
    memory.join(torch.tensor([0]), rows=given)
    kept = memory.state_dict()
    kept["0.rows"].fill_(9)
    given.fill_(9)
    assert memory.state_dict()["0.rows"].item() == 1
    memory.load_state_dict(kept)
    kept["0.rows"].fill_(7)
    assert memory.state_dict()["0.rows"].item() == 9
    with refused(TypeError, "`labels` should be integers. Got torch.float32."):
        memory.load_state_dict({"0.labels": torch.ones(1)})


def test_another_device_is_told_with_its_cure():
    memory = CrossBatchMemory(classes="all")
    memory.join(torch.tensor([0]), rows=torch.ones(1, 1))
    with refused(
        ValueError,
        "`rows` should be on cpu, like the stored rows. Got meta. Call `clear()` first.",
    ):
        memory.join(torch.tensor([0]), rows=torch.ones(1, 1, device="meta"))
