"""Tasks and methods as several tests need them."""

import dataclasses
import json

import pytest
import torch
from vlm_adapters.config import load_methods
from vlm_adapters.features.texts import ClassTexts
from vlm_adapters.features.views import CachedViews
from vlm_adapters.regularizers import BatchViews


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


def equal(a, b):
    """Every bit."""
    torch.testing.assert_close(a, b, rtol=0, atol=0)
