"""Every kind of adapter from its tensors, through a safetensors file."""

import pytest
import torch
from application.helpers import all_images, randomised
from vlm_adapters._files import read_tensors, write_tensors
from vlm_adapters.adapters import ADAPTERS, TipAdapter, build_adapter
from vlm_adapters.options import AdapterOptions


def options(kind):
    return AdapterOptions(kind=kind, residual_scale=0.4, cache_weight=2.0, sharpness=1.3)


def equal(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.fixture(params=ADAPTERS)
def adapter(request, task):
    return randomised(build_adapter(task, options(request.param)))


def test_round_trip_through_a_file(task, adapter, tmp_path):
    write_tensors(tmp_path / "adapter", adapter.state_dict())
    _, tensors = read_tensors(tmp_path / "adapter")
    again = type(adapter)(tensors, adapter.options, adapter.logit_scale)
    assert type(again) is type(adapter)
    assert (again.options, again.logit_scale) == (adapter.options, adapter.logit_scale)
    assert again.state_dict().keys() == adapter.state_dict().keys()
    equal(again(task.test_features), adapter(task.test_features))
    classes = torch.tensor([4, 2, 0])
    equal(
        again.restrict(classes)(task.test_features), adapter.restrict(classes)(task.test_features)
    )


def test_at_another_moment(task, adapter):
    before = {name: tensor.clone() for name, tensor in adapter.state_dict().items()}
    logits = adapter(task.test_features).detach()
    moved = randomised(adapter.at(before))
    if list(adapter.parameters()):
        assert (moved(task.test_features) - logits).abs().max() > 1e-3
    for name, tensor in adapter.state_dict().items():
        equal(tensor, before[name])  # neither the adapter nor what it was made from
    equal(adapter.at(adapter.state_dict())(task.test_features), logits)


def test_copies_share_no_parameters(task, adapter):
    """One of them may be trained on."""
    logits = adapter(task.test_features).detach()
    randomised(adapter.at(adapter.state_dict()))
    randomised(adapter.restrict(torch.arange(5)))
    equal(adapter(task.test_features).detach(), logits)


def test_restricting_to_all_classes_changes_nothing(task, adapter):
    equal(adapter.restrict(torch.arange(5))(task.test_features), adapter(task.test_features))


def test_steps_are_consistent(task, adapter):
    """A step's logits and views are those that evaluation and the constraint compute."""
    images, labels = all_images(task), task.train_labels
    step = adapter.step(images)
    torch.testing.assert_close(step.logits, adapter(images))
    assert step.source.shape == step.target(labels).shape
    if step.linear is not None:
        inputs, parameter, outputs = step.linear
        equal(inputs @ parameter.T, outputs)


def test_only_cache_models_are_searched(adapter):
    assert hasattr(adapter, "search_grid") == isinstance(adapter, TipAdapter)


def test_tensors_of_another_kind(task, adapter):
    with pytest.raises(ValueError, match=r"The tensors should be .*, .*\. Got other\."):
        type(adapter)({"other": torch.zeros(2)}, adapter.options, 1.0)
