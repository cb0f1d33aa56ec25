"""The constraint with memory, dimension 1 and half distances: loops over equations 4 to 7."""

import dataclasses

import oracles
import pytest
import torch
from application.helpers import (
    aligned_coincidence,
    all_images,
    equal,
    in_double,
    method,
    randomised,
)
from torch.nn.functional import cross_entropy, normalize
from vlm_adapters import training
from vlm_adapters.adapters import build_adapter
from vlm_adapters.config import ConstraintOptions
from vlm_adapters.regularizers.consistency import Consistency
from vlm_adapters.training import train

from topreg import HomologyConsistency, RipsFiltration, balanced_backward

PRESETS = ("hc_tr", "hc_tr_paper", "hc_taf", "hc_taf_paper")
FIRST, SECOND = torch.arange(0, 20, 2), torch.tensor([1, 3, 5, 7, 13, 19])  # two alone
THIRD = torch.tensor([9, 11, 15, 17])


@pytest.fixture
def task(task):
    return in_double(task)


def adapter_of(task, preset, size=0.05):
    """The adapter of a preset, in the middle of a training."""
    return randomised(build_adapter(task, method(preset).adapter).double(), size)


def batch(task, rows):
    return all_images(task)[rows], task.train_labels[rows]


def terms(constraint, adapter, features, labels):
    return constraint.terms(adapter, adapter.step(features), features, labels)


def literal_views(preset, adapter, task, features, labels):
    """Source and target written out; the adapter's own code is not used."""
    if preset.startswith("hc_tr"):
        texts = adapter.text + adapter.options.residual_scale * adapter.residual
        return features, torch.stack([texts[k] / texts[k].norm() for k in labels.tolist()])
    if preset == "hc_clip_adapter":
        share, rows = adapter.options.residual_scale, []
        for x in features:
            bottleneck = (adapter.up @ (adapter.down @ x).clamp(min=0)).clamp(min=0)
            rows.append(share * bottleneck + (1 - share) * x)
        texts = torch.stack([adapter.text[k] for k in labels.tolist()])
        return torch.stack([row / row.norm() for row in rows]), texts
    cosines = torch.stack([torch.stack([x @ key for key in adapter.keys]) for x in features])
    target = [[float(label == other) for other in task.train_labels] for label in labels]
    return torch.exp(-adapter.options.sharpness * (1 - cosines)), torch.tensor(target).double()


def kept_pairs(features, labels, options):
    """The pairs that the options keep of a batch without memory."""
    pairs = RipsFiltration().pairs(features)
    return pairs if options.same_label_edges == "keep" else pairs.between(labels)


def literal_terms(views, labels, options, kept=lambda edge: True):
    """Equations 4 to 6 on views (geometry, source, target)."""
    geometry, source, target = views
    pairs = kept_pairs(geometry, labels, options)
    pairs = pairs.select(torch.tensor([kept(edge) for edge in pairs.death_edges.tolist()]))
    return (
        oracles.track_coincidence(source, target, pairs, undefined=options.undirected),
        oracles.deviating_perturbation(
            source,
            target,
            labels,
            pairs,
            related=options.related,
            match_norms=options.match_norms,
            undefined=options.unrelated,
        ),
    )


def close(found, expected):
    for term, value in zip(found, expected, strict=True):
        assert value > 1e-3
        assert term.item() == pytest.approx(value, rel=1e-6)


def gradient_of(loss, parameter):
    (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
    return gradient


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_equal_the_equations_on_joined_batches(task, preset):
    options, adapter = method(preset).constraint, adapter_of(task, preset)
    constraint = Consistency(options, task.logit_scale)
    old, old_labels = batch(task, FIRST)
    old_views = literal_views(preset, adapter, task, old, old_labels)
    close(
        terms(constraint, adapter, old, old_labels),
        literal_terms((old, *old_views), old_labels, options),
    )
    randomised(adapter)  # stored rows are older than the parameters
    features, labels = batch(task, SECOND)
    views = literal_views(preset, adapter, task, features, labels)
    if options.memory_batches:
        rows = [row for row, label in enumerate(old_labels.tolist()) if label in labels.tolist()]
        assert 0 < len(rows) < len(old)
        _, target = literal_views(preset, adapter, task, old, old_labels)  # today's texts
        old_views = old_views[0], target
        views = [torch.cat([now, then[rows]]) for now, then in zip(views, old_views, strict=True)]
        features, labels = (torch.cat([features, old[rows]]), torch.cat([labels, old_labels[rows]]))
    expected = literal_terms((features, *views), labels, options)
    close(terms(constraint, adapter, *batch(task, SECOND)), expected)
    assert (options.memory_batches == 0) == preset.endswith("_paper")


TWO = ConstraintOptions(weight=0.3, perturbation_weight=2.0, combination="ratio", match_norms=False)
NORMS = ("global", "per_parameter", "rowwise")
CASES = [(preset, method(preset).constraint) for preset in PRESETS]
CASES += [("hc_clip_adapter", dataclasses.replace(TWO, norm=norm)) for norm in NORMS]


@pytest.mark.parametrize(("preset", "options"), CASES)
def test_the_whole_gradient_is_that_of_the_literal_graph(task, preset, options):
    """Cross-entropy and equation 7 through dense views, combined by topreg."""
    adapter = adapter_of(task, preset)
    features, labels = batch(task, slice(None))
    step, constraint = adapter.step(features), Consistency(options, task.logit_scale)
    constraint.backward(cross_entropy(step.logits, labels), adapter, step, features, labels)
    found = [parameter.grad for parameter in adapter.parameters()]
    adapter.zero_grad()
    # topreg has one option for both terms; here every kept track has a direction.
    loss = HomologyConsistency(
        perturbation_weight=options.perturbation_weight,
        undefined=options.unrelated,
        related=options.related,
        match_norms=options.match_norms,
    )(
        *literal_views(preset, adapter, task, features, labels),
        labels,
        pairs=kept_pairs(features, labels, options),
    )
    main = cross_entropy(adapter(features), labels)
    if options.combination == "ratio":
        parameters = adapter.parameters()
        balanced_backward(main, loss, parameters, weight=options.weight, norm=options.norm)
    else:
        (main + options.weight * task.logit_scale * loss).backward()
    expected = [parameter.grad for parameter in adapter.parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# The memory


def joined(task, options, preset="hc_taf", batches=(FIRST, SECOND)):
    """The terms of the last of several batches."""
    adapter, constraint = adapter_of(task, preset), Consistency(options, task.logit_scale)
    for rows in batches:
        found = terms(constraint, adapter, *batch(task, rows))
    return found


def joined_rows(task, batches, classes="current"):
    """Rows of the last batch, then those of the others, the newest first."""
    *older, last = batches
    labels, rows = set(task.train_labels[last].tolist()), last.tolist()
    for stored in reversed(older):
        rows += [
            row
            for row in stored.tolist()
            if classes == "all" or int(task.train_labels[row]) in labels
        ]
    return torch.tensor(rows)


MEMORY = ConstraintOptions(weight=1.0, memory_batches=1)


@pytest.mark.parametrize(
    ("changes", "batches"),
    [
        ({}, (FIRST, SECOND)),
        ({"memory_classes": "all"}, (FIRST, SECOND)),
        ({}, (THIRD, FIRST, SECOND)),  # the oldest is forgotten
        ({"memory_batches": 2}, (THIRD, FIRST, SECOND)),
        ({"unrelated": "zero", "related": "endpoints"}, (FIRST, SECOND)),
        ({"memory_pairs": "drop"}, (FIRST, SECOND)),
        ({"memory_pairs": "drop", "memory_classes": "all"}, (FIRST, SECOND)),
    ],
)
def test_memory(task, changes, batches):
    options = dataclasses.replace(MEMORY, **changes)
    kept = batches[-options.memory_batches - 1 :]
    rows = joined_rows(task, kept, options.memory_classes)
    features, labels = batch(task, rows)
    adapter = adapter_of(task, "hc_taf")
    views = literal_views("hc_taf", adapter, task, features, labels)
    size = len(batches[-1])

    def counted(edge):
        return options.memory_pairs == "keep" or min(edge) < size

    expected = literal_terms((features, *views), labels, options, counted)
    close(joined(task, options, batches=batches), expected)
    alone = joined(task, dataclasses.replace(options, memory_batches=0), batches=batches)
    assert abs(alone[0].item() - expected[0]) > 1e-6  # the memory matters here


@pytest.mark.parametrize("preset", ["hc_tr", "hc_taf", "hc_clip_adapter"])
def test_stored_rows_get_no_gradient(task, preset):
    adapter = randomised(build_adapter(task, method(preset).adapter).double(), 0.05)
    constraint = Consistency(method(preset).constraint, task.logit_scale)
    old = adapter.step(batch(task, FIRST)[0])
    constraint.terms(adapter, old, *batch(task, FIRST))
    new, targets = adapter.step(batch(task, SECOND)[0]), []

    def target(labels):
        targets.append(new.target(labels))
        return targets[-1]

    found = constraint.terms(adapter, new._replace(target=target), *batch(task, SECOND))
    loss = sum(found)
    own = [part for part in (new.source, *targets[:1]) if part.requires_grad]
    stored = [part for part in (old.source, *targets[1:]) if part.requires_grad]
    assert own
    assert stored
    assert torch.autograd.grad(loss, stored, allow_unused=True, retain_graph=True) == (None,) * (
        len(stored)
    )
    assert all(part.abs().max() > 0 for part in torch.autograd.grad(loss, own, retain_graph=True))
    loss.backward()  # no step of the graph before is needed
    assert all(parameter.grad.isfinite().all() for parameter in adapter.parameters())


def test_an_epoch_begins_without_memory(task):
    adapter, constraint = adapter_of(task, "hc_taf"), Consistency(MEMORY, task.logit_scale)
    alone = terms(constraint, adapter, *batch(task, SECOND))
    terms(constraint, adapter, *batch(task, FIRST))
    after = terms(constraint, adapter, *batch(task, SECOND))
    constraint.start_epoch()
    again = terms(constraint, adapter, *batch(task, SECOND))
    for a, b, c in zip(alone, again, after, strict=True):
        equal(a, b)
        assert abs(a.item() - c.item()) > 1e-6
    Consistency(ConstraintOptions(weight=1.0), 1.0).start_epoch()  # nothing to forget


def test_training_forgets_at_each_epoch(task, monkeypatch):
    sizes, real = [], training.one_step

    def one_step(state, *arguments):
        sizes.append(len(state.constraint.memory))
        return real(state, *arguments)

    monkeypatch.setattr(training, "one_step", one_step)
    train(task, method("hc_taf", epochs=2, batch_size=8))
    assert sizes == [0, 8, 8, 0, 8, 8]  # 20 images: the last batch has 4


# Pairs


@pytest.mark.parametrize("orientation", ["aligned", "index"])
@pytest.mark.parametrize("preset", ["hc_tr_p1", "hc_taf_p1", "hc_clip_adapter"])
def test_dimension_1(task, preset, orientation):
    options = dataclasses.replace(
        method(preset).constraint, memory_batches=0, orientation=orientation
    )
    if preset == "hc_clip_adapter":  # has no preset for it; here the images are neither view
        options = dataclasses.replace(options, dimensions=(0, 1))
    adapter = adapter_of(task, preset)
    rows = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    features, labels = batch(task, rows)
    views = literal_views(preset, adapter, task, features, labels)
    zero, one = RipsFiltration(engine="gudhi").all_pairs(features, 1)
    (expected_0, _), (expected_1, turned) = (
        aligned_coincidence(features, *views, part, orientation) for part in (zero, one)
    )
    assert 0 < turned < len(one) if orientation == "aligned" else turned == 0
    found = terms(Consistency(options, task.logit_scale), adapter, features, labels)
    assert found[0].item() == pytest.approx(expected_0 + expected_1, rel=1e-6)
    _, perturbation = literal_terms((features, *views), labels, options)
    assert found[1].item() == pytest.approx(perturbation, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_half_distances_are_ordered_as_a_stable_sort_does(dtype):
    points = normalize(torch.randn(60, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    rounded = points.half().double()
    distances = (rounded[:, None] - rounded[None]).norm(dim=2).half().double()
    upper = distances[torch.triu(torch.ones(60, 60), 1).bool()]
    assert len(upper.unique()) < len(upper) / 2  # many ties
    expected, _, _ = oracles.kruskal(distances)
    options, labels = ConstraintOptions(weight=1.0, distance_dtype="float16"), torch.arange(60)
    (pairs,) = Consistency(options, 1.0)._pairs(points.to(dtype), labels, 60)
    assert [tuple(edge) for edge in pairs.death_edges.tolist()] == expected
    exactly = Consistency(ConstraintOptions(weight=1.0), 1.0)
    (exact,) = exactly._pairs(points.to(dtype), labels, 60)
    assert pairs.death_edges.tolist() != exact.death_edges.tolist()


# Weights


def added(task, options, preset="hc_tr"):
    """What the constraint adds to the gradient of cross-entropy, and the terms' own gradients."""
    adapter = adapter_of(task, preset)
    (parameter,) = adapter.parameters()
    features, labels = batch(task, slice(None))
    step = adapter.step(features)
    loss = cross_entropy(step.logits, labels)
    plain = gradient_of(loss, parameter)
    found = Consistency(options, task.logit_scale).terms(adapter, step, features, labels)
    parts = [gradient_of(term, parameter) for term in found]
    logged = Consistency(options, task.logit_scale).backward(loss, adapter, step, features, labels)
    assert [float(term) for term in logged.values()] == [float(term.detach()) for term in found]
    return parameter.grad - plain, parts


@pytest.mark.parametrize("preset", ["hc_tr", "hc_taf"])
@pytest.mark.parametrize(
    ("unit", "weights"),
    [
        ("logit_scale", (0.15, 1.0, 2.5)),
        ("absolute", (15.0, 1.0, 2.5)),
        ("absolute", (1.0, 0.0, 2.5)),
        ("absolute", (1.0, 1.0, 0.0)),
    ],
)
def test_units_and_weights_of_the_terms(task, preset, unit, weights):
    names = ("weight", "coincidence_weight", "perturbation_weight")
    options = ConstraintOptions(**dict(zip(names, weights, strict=True)), unit=unit)
    found, parts = added(task, options, preset)
    whole, *shares = weights
    scale = 1.0 if unit == "absolute" else task.logit_scale
    expected = whole * scale * (shares[0] * parts[0] + shares[1] * parts[1])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("preset", ["hc_tr", "hc_taf"])
def test_one_shot_gives_coincidence_only(source, preset):
    task = source.task(1, 2)
    adapter = build_adapter(task, method(preset).adapter)
    constraint = Consistency(ConstraintOptions(weight=1, perturbation_weight=100), 20.0)
    coincidence, perturbation = terms(constraint, adapter, *batch(task, slice(None)))
    assert coincidence.item() > 0
    assert perturbation.item() == 0


@pytest.mark.parametrize("preset", ["hc_tr", "hc_taf"])
@pytest.mark.parametrize(
    ("weight", "combination"), [(1.0, "constant"), (1.0, "ratio"), (0.0, "constant")]
)
def test_a_batch_of_one_class_or_no_weight_leaves_cross_entropy(task, preset, weight, combination):
    adapter = adapter_of(task, preset)
    (parameter,) = adapter.parameters()
    features, labels = batch(task, task.train_labels == 2 if weight else slice(None))
    step = adapter.step(features)
    loss = cross_entropy(step.logits, labels)
    plain = gradient_of(loss, parameter)
    constraint = Consistency(ConstraintOptions(weight=weight, combination=combination), 20.0)
    found = constraint.backward(loss, adapter, step, features, labels)
    assert found["track_coincidence"] == 0
    torch.testing.assert_close(parameter.grad, plain, rtol=1e-12, atol=0)
