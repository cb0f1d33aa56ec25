"""A small synthetic bundle: five classes around their texts, a minute's work for nobody."""

import pytest
import torch
from application.synthetic_data import write_dataset
from vlm_adapters.adapters import linear_probe
from vlm_adapters.features.bundle import BundleSource, FeatureBundle, save_bundle

CLASSES, IMAGES, WIDTH = 5, 24, 12


@pytest.fixture(scope="session")
def bundle():
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(CLASSES, WIDTH, generator=generator)
    labels = torch.arange(CLASSES).repeat_interleave(IMAGES)
    noise = torch.randn(len(labels), WIDTH, generator=generator)
    shifted = text.roll(1, 0)[labels]  # zero-shot errs, so that there is something to learn
    features = (text[labels] + 0.9 * shifted + 0.8 * noise).half().float()
    order = torch.arange(len(labels)).view(CLASSES, IMAGES)
    subsets = torch.zeros_like(order)
    subsets[:, 12:16], subsets[:, 16:] = 1, 2
    sort = subsets.flatten().argsort(stable=True)
    return FeatureBundle(
        features=features[sort],
        labels=labels[sort],
        subsets=subsets.flatten()[sort],
        text_raw=3 * text,
        text_normalized=torch.nn.functional.normalize(text, dim=1),
        class_names=tuple(f"class {k}" for k in range(CLASSES)),
        logit_scale=20.0,
        provenance={"data": {"name": "synthetic"}},
    )


@pytest.fixture(scope="session")
def bundle_file(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "synthetic.safetensors"
    save_bundle(bundle, path)
    return path


@pytest.fixture(scope="session")
def source(bundle_file):
    return BundleSource(bundle_file)


@pytest.fixture
def task(source):
    return source.task(4, 1)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Synthetic data sets in CoOp's layout, which no test changes."""
    root = tmp_path_factory.mktemp("data")
    for name in ("caltech101", "dtd", "imagenet", "imagenetv2", "imagenet_a"):
        write_dataset(root, name)
    return root


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The matrices are small: with more threads the tests take twice as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _few_penalties(monkeypatch):
    """The linear probe's fits with next to no penalty take most of the time, and add nothing."""
    monkeypatch.setattr(linear_probe, "PENALTIES", (1.0, 30.0))


@pytest.fixture(autouse=True)
def _denormals():
    """The command flushes denormal numbers in its process, which here is that of all tests."""
    yield
    torch.set_flush_denormal(False)
