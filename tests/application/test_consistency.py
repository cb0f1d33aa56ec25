"""The constraint on the adapters, against literal loops over the paper's equations."""

import oracles
import pytest
import torch
from application.helpers import all_images, in_double, views_of
from torch.nn.functional import cross_entropy
from vlm_adapters.adapters import build_adapter
from vlm_adapters.options import AdapterOptions, ConstraintOptions
from vlm_adapters.regularizers.consistency import Consistency
from vlm_adapters.sources import few_shot_task

from topreg import RipsFiltration

KINDS = ("taskres", "tip_adapter_f")


def batch(task, rows=slice(None)):
    return all_images(task)[rows], task.train_labels[rows]


def gradients(adapter, task, options, rows=slice(None)):
    """Gradient of cross-entropy alone, of the constraint alone, and what the constraint leaves."""
    features, labels = batch(task, rows)
    (parameter,) = adapter.parameters()
    loss = cross_entropy(adapter(features), labels)
    (g,) = torch.autograd.grad(loss, parameter)
    constraint = Consistency(options, task.logit_scale)
    step = adapter.step(features)
    coincidence, perturbation = constraint.terms(adapter, step, features, labels)
    (h,) = torch.autograd.grad(coincidence + options.perturbation_weight * perturbation, parameter)
    adapter.zero_grad()
    step = adapter.step(features)
    constraint.backward(cross_entropy(step.logits, labels), adapter, step, features, labels)
    return g, h, parameter.grad


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        ConstraintOptions(weight=1, related="all", match_norms=True, undirected="skip"),
        ConstraintOptions(weight=1, related="endpoints", match_norms=False, undirected="zero"),
    ],
    ids=["released", "literal"],
)
def test_terms_equal_literal_loops(task, kind, options):
    task = in_double(task)
    adapter = build_adapter(task, AdapterOptions(kind=kind)).double()
    features, labels = batch(task)
    geometry, source, target, _ = views_of(adapter, features, labels)
    pairs = RipsFiltration().pairs(geometry)
    if options.same_label_edges == "drop":
        pairs = pairs.between(labels)
    step = adapter.step(features)
    terms = Consistency(options, task.logit_scale).terms(adapter, step, features, labels)
    expected = (
        oracles.track_coincidence(source, target, pairs, undefined=options.undirected),
        oracles.deviating_perturbation(
            source, target, labels, pairs,
            related=options.related, match_norms=options.match_norms,
        ),
    )  # fmt: skip
    for term, value in zip(terms, expected, strict=True):
        assert term.item() == pytest.approx(value, rel=1e-6)
        assert value > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_constant_weight_is_in_units_of_the_logit_scale(task, kind):
    task = in_double(task)
    options = ConstraintOptions(weight=0.15, perturbation_weight=2.5)
    adapter = build_adapter(task, AdapterOptions(kind=kind)).double()
    g, h, result = gradients(adapter, task, options)
    torch.testing.assert_close(result, g + 0.15 * task.logit_scale * h)


def test_global_ratio(task):
    task = in_double(task)
    options = ConstraintOptions(weight=0.4, perturbation_weight=10.0, combination="ratio")
    adapter = build_adapter(task, AdapterOptions(kind="tip_adapter_f")).double()
    g, h, result = gradients(adapter, task, options)
    torch.testing.assert_close(result, g + 0.4 * g.norm() / h.norm() * h)
    torch.testing.assert_close((result - g).norm(), 0.4 * g.norm())


def test_rowwise_ratio(task):
    task = in_double(task)
    options = ConstraintOptions(
        weight=0.4, perturbation_weight=10.0, combination="ratio", norm="rowwise"
    )
    adapter = build_adapter(task, AdapterOptions(kind="tip_adapter_f")).double()
    g, _, result = gradients(adapter, task, options)
    torch.testing.assert_close((result - g).norm(dim=1), 0.4 * g.norm(dim=1))


@pytest.mark.parametrize("kind", KINDS)
def test_one_shot_gives_coincidence_only(bundle, kind):
    task = few_shot_task(bundle, shots=1, seed=2)
    adapter = build_adapter(task, AdapterOptions(kind=kind))
    constraint = Consistency(ConstraintOptions(weight=1, perturbation_weight=100), 20.0)
    terms = constraint.terms(adapter, adapter.step(batch(task)[0]), *batch(task))
    assert terms[0].item() > 0
    assert terms[1].item() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("combination", ["constant", "ratio"])
def test_a_batch_of_one_class_leaves_finite_gradients(task, kind, combination):
    options = ConstraintOptions(weight=1.0, perturbation_weight=0.0, combination=combination)
    adapter = build_adapter(task, AdapterOptions(kind=kind))
    g, h, result = gradients(adapter, task, options, rows=task.train_labels == 2)
    assert h.abs().max() == 0
    torch.testing.assert_close(result, g)


def test_zero_weight_is_plain_cross_entropy(task):
    adapter = build_adapter(task, AdapterOptions(kind="taskres"))
    features, labels = batch(task)
    step = adapter.step(features)
    loss = cross_entropy(step.logits, labels)
    (g,) = torch.autograd.grad(loss, adapter.residual, retain_graph=True)
    constraint = Consistency(ConstraintOptions(weight=0), 20.0)
    terms = constraint.backward(loss, adapter, step, features, labels)
    assert terms == {"track_coincidence": 0.0, "deviating_perturbation": 0.0}
    torch.testing.assert_close(adapter.residual.grad, g, rtol=0, atol=0)
