"""Tasks and methods as several tests need them."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vlm_adapters.config import load_methods
from vlm_adapters.features.bundle import FeatureBundle
from vlm_adapters.features.texts import ClassTexts
from vlm_adapters.features.views import CachedViews
from vlm_adapters.regularizers import BatchViews

# Six images of two classes; values that half precision holds exactly
BUNDLE = FeatureBundle(
    features=torch.arange(18.0).reshape(6, 3) / 8,
    labels=torch.tensor([0, 1, 1, 0, 1, 0]),
    subsets=torch.tensor([0, 0, 0, 1, 2, 2]),
    text_raw=torch.tensor([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]),
    text_normalized=torch.eye(3)[:2],
    class_names=("cat", "sea_horse"),
    logit_scale=12.5,
    provenance={"data": {"name": "x", "split_sha256": "ab"}, "backbone": {"name": "b"}},
)


def all_images(task):
    """The first view of every training image."""
    return task.train.draw(torch.arange(len(task.train_labels)), torch.Generator().manual_seed(0))


def views_of(adapter, features, labels):
    """What an adapter gives the constraint of a batch."""
    step = adapter.step(features)
    return BatchViews(features, step.source, step.target(labels), labels)


def in_double(task):
    """The same task in double precision, one view an image."""
    images = all_images(task).double()
    texts = ClassTexts(task.texts.raw.double(), task.texts.normalized.double())
    return dataclasses.replace(
        task,
        train=CachedViews(images[:, None]),
        texts=texts,
        val_features=task.val_features.double(),
        test_features=task.test_features.double(),
    )


def method(preset, dataset=None, **training):
    """A shipped preset with other values of its training."""
    loaded = load_methods([preset], dataset=dataset)[preset]
    return dataclasses.replace(loaded, training=dataclasses.replace(loaded.training, **training))


def constrained(method, **options):
    """A method with other values of its constraint."""
    return dataclasses.replace(method, constraint=dataclasses.replace(method.constraint, **options))


def randomised(adapter, size=0.1):
    """The adapter away from its initial parameters."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter += size * torch.randn(
                parameter.shape, generator=generator, dtype=parameter.dtype
            )
    return adapter


def aligned_coincidence(geometry, source, target, pairs, orientation="aligned"):
    """Equation 5; aligned, death edges are turned so that they do not oppose the birth edge."""
    cosines, turned = [], 0
    for birth, death in zip(pairs.birth_edges.tolist(), pairs.death_edges.tolist(), strict=True):
        b, d = (geometry[e[1]] - geometry[e[0]] for e in (birth, death))
        sign = -1.0 if orientation == "aligned" and float(b @ d) < 0 else 1.0
        turned += sign < 0
        x, y = (
            sign * (view[death[1]] - view[death[0]]) - (view[birth[1]] - view[birth[0]])
            for view in (source, target)
        )
        if min(x.norm(), y.norm()) > 1e-8:
            cosines.append((x @ y / (x.norm() * y.norm())).item())
    return 1 - sum(cosines) / len(cosines), turned


def refused(message):
    """Expect an error about a value, a type or a missing file whose message matches."""
    return pytest.raises((ValueError, TypeError, FileNotFoundError), match=message)


def told(function, *arguments, **options):
    """The value of a function, or None after an error that tells what should be."""
    try:
        return function(*arguments, **options)
    except (ValueError, FileNotFoundError) as error:
        kind, text = type(error), str(error)
    assert kind in (ValueError, FileNotFoundError) or kind.__name__ == "Diverged", kind
    assert re.match(r"(`|[A-Z]).* should .*(Got|Known|a known key)", text, re.DOTALL), text
    return None


def opened(content):
    """Tensors and texts of the bytes of a safetensors file."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return safetensors.torch.load(content), header.get("__metadata__", {})


def rewritten(content, document=None, **changes):
    """The bytes of a safetensors file with other tensors, or with other values in its JSON.

    None leaves a tensor out; ``document`` replaces the whole JSON.
    """
    tensors, texts = opened(content)
    values = {name: new for name, new in changes.items() if name not in tensors}
    values = {name: new for name, new in values.items() if not torch.is_tensor(new)}
    tensors |= {name: new for name, new in changes.items() if name not in values}
    if values or document is not None:
        [(key, old)] = texts.items()
        texts = {key: document or dumped(json.loads(old) | values)}
    kept = {name: part.contiguous() for name, part in tensors.items() if part is not None}
    return safetensors.torch.save(kept, texts or None)


def dumped(document):
    """JSON, very deep where asked for."""
    return json.dumps(document).replace('"DEEP"', "[" * 100_000)


def kept(folder):
    """The bytes of all files below a folder; results without what differs between processes."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if file.name in ("result.json", "results.json"):
            document = json.loads(content)
            for run in document.get("runs") or [document["run"]]:
                assert run.pop("seconds") > 0
            for name in ("sha256", "command"):  # the hash covers the rest
                document.pop(name, None)
            content = json.dumps(document).encode()
        if file.name[0] != ".":  # unfinished files of a killed process harm nobody
            found[str(file.relative_to(folder))] = content
    return found


class CountProducts(TorchDispatchMode):
    """Notes the multiplications of each product of matrices."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.mm.default:
            self.sizes.append(args[0].numel() * args[1].shape[1])
        return function(*args, **(kwargs or {}))


def environment(*folders, **variables):
    """The environment of a process that finds the modules of this one, those of folders first."""
    path = [*map(str, folders), str(pathlib.Path(__file__).parents[1]), *sys.path]
    return os.environ | variables | {"PYTHONPATH": os.pathsep.join(path)}


def python(*words, env=None, **options):
    """Run Python in another process."""
    options = {"capture_output": True, "text": True, "timeout": 300, "check": True} | options
    return subprocess.run([sys.executable, *words], env=env or environment(), **options)


def equal(a, b):
    """Every bit."""
    torch.testing.assert_close(a, b, rtol=0, atol=0)
