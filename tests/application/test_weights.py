"""Weights from OpenAI's archives and from state dicts."""

import warnings

import open_clip
import pytest
import torch
from application.helpers import equal, refused
from application.tiny_clip import CONFIG, MODEL, register, tensors
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close
from vlm_adapters.backbones.open_clip import OpenClip
from vlm_adapters.weights import convert_weights, is_torchscript, was_trained_with_quick_gelu

ENTRIES = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}


class Archive(nn.Module):
    """A tiny CLIP with the numbers that OpenAI's archives hold; only its tensors matter."""

    def __init__(self):
        super().__init__()
        model = open_clip.CLIP(**CONFIG)
        model.load_state_dict(tensors(CONFIG))
        for name, part in model.named_children():
            self.add_module(name, part)
        for name, part in model.named_parameters(recurse=False):
            self.register_parameter(name, part)
        for name, number in ENTRIES.items():
            self.register_buffer(name, torch.tensor(number))

    def forward(self, x):
        return x + self.logit_scale


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """In half precision, as OpenAI's are."""
    file = tmp_path_factory.mktemp("archive") / "RN50.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have nobody use TorchScript
        traced = torch.jit.trace(Archive().half().eval(), torch.ones(1).half(), check_trace=False)
        torch.jit.save(traced, file)
    return file


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Names of a plain model and of its QuickGELU twin."""
    folder = tmp_path_factory.mktemp("configs")
    register(folder, MODEL, CONFIG)
    register(folder, "tiny", CONFIG)
    register(folder, "tiny-quickgelu", {**CONFIG, "quick_gelu": True})
    return "tiny", "tiny-quickgelu"


def halved():
    return {
        name: part.half().float() if part.is_floating_point() else part
        for name, part in tensors(CONFIG).items()
    }


def test_archive(archive, quick, tmp_path):
    assert is_torchscript(archive)
    file = tmp_path / "made" / "RN50.safetensors"
    convert_weights(archive, file)
    equal(load_file(file), halved())
    plain, twin = quick
    backbone = OpenClip(plain, file)
    assert backbone.config == twin
    state = backbone._model.state_dict() | {"text_projection": backbone.text_projection.weight}
    equal(state, halved())
    assert list(file.parent.iterdir()) == [file]


def test_open_clip_is_not_given_an_archive(archive, quick):
    with refused(r"should hold tensors only\. Got the TorchScript archive '.*RN50\.pt', which hol"):
        OpenClip(MODEL, archive)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {f"module.{name}": part for name, part in state.items()},
    ],
)
def test_state_dict(tmp_path, wrap):
    torch.save(wrap(tensors(CONFIG)), tmp_path / "clip.pt")
    convert_weights(tmp_path / "clip.pt", str(tmp_path / "clip.safetensors"))
    equal(load_file(tmp_path / "clip.safetensors"), tensors(CONFIG))


def test_tensors_that_share_memory(tmp_path):
    shared = torch.arange(6.0).view(2, 3)
    torch.save({"a": shared, "b": shared.T}, tmp_path / "clip.pt")
    convert_weights(tmp_path / "clip.pt", tmp_path / "clip.safetensors")
    assert_close(load_file(tmp_path / "clip.safetensors"), {"a": shared, "b": shared.T})


@pytest.mark.parametrize(("entries", "quick_gelu"), [({}, False), (ENTRIES, True)])
def test_the_file_says_how_openais_weights_were_trained(tmp_path, entries, quick_gelu):
    numbers = {name: torch.tensor(number) for name, number in entries.items()}
    torch.save({"a": torch.ones(2), **numbers}, tmp_path / "clip.pt")
    convert_weights(tmp_path / "clip.pt", tmp_path / "clip.safetensors")
    assert load_file(tmp_path / "clip.safetensors").keys() == {"a"}
    assert was_trained_with_quick_gelu(tmp_path / "clip.safetensors") == quick_gelu
    assert not was_trained_with_quick_gelu(tmp_path / "clip.pt")


def test_no_source_and_another_target(archive, tmp_path):
    with refused(r"`source` should be a file of weights\. Got no f"):
        convert_weights(tmp_path / "clip.pt", tmp_path / "clip.safetensors")
    with refused(r"`target` should end in `\.safetensors`\. Got '.*clip\.pt'"):
        convert_weights(archive, tmp_path / "clip.pt")
