"""Spheres with the code of Moor et al., ICML 2020: their training, and its steps next to ours.

Run ``python benchmarks/published/spheres.py --authors FOLDER``. FOLDER is a checkout of
github.com/BorgwardtLab/topological-autoencoders; commit 203e94a was used. Data, split, model, loss,
training loop, choice of the best epoch and configurations are theirs. Only ``exp/train_model.py``
is replaced, so that its framework for experiments need not be installed; the seed that it would
draw comes from ``spheres.framework_seed``. Their code imports torchvision, tqdm and matplotlib. It
also imports modules that these runs never call; stand-ins take their place.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import spheres
import torch
from _kept import Kept
from _measures import NEIGHBOURS, measures
from torch import nn

NEVER_CALLED = ("IPython", "tadasets", "tadasets.dimension", "umap")
CONFIGURATIONS = {"AE": "Vanilla", "TopoAE": "TopoRegEdgeSymmetric"}
THEIR_NAMES = {
    "KL 0.01": "density_kl_global_001",
    "KL 0.1": "density_kl_global_01",
    "KL 1": "density_kl_global_1",
    "MRRE": "mean_mrre",
    "continuity": "mean_continuity",
    "trustworthiness": "mean_trustworthiness",
    "RMSE": "rmse",
}
STEPS = 300  # of training, taken by both codes


def configurations(folder: Path, method: str) -> dict[int, dict[str, Any]]:
    """Return the authors' five configurations of a method by seed."""
    name = f"experiments/train_model/repetitions/rep*/Spheres/{CONFIGURATIONS[method]}.json"
    read = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(name))]
    if len(read) != len(spheres.SEEDS):
        raise SystemExit(
            f"`--authors` should be a checkout of the authors' repository with 5 files {name}. "
            f"Got {len(read)} in {folder}. Clone github.com/BorgwardtLab/topological-autoencoders."
        )
    return {given["seed"]: given for given in read}


def build_model(given: dict[str, Any]) -> nn.Module:
    """Build the model of a configuration; then the authors' other modules can be imported, too."""
    for name in NEVER_CALLED:
        sys.modules.setdefault(name, MagicMock())
    torch._utils._accumulate = itertools.accumulate  # imported, never called; torch dropped it
    from src import models

    with contextlib.redirect_stdout(io.StringIO()):
        return getattr(models, given["model"]["name"])(**given["model"]["parameters"])


def of_authors(given: dict[str, Any], epochs: int) -> dict[str, float]:
    """Train as a configuration says, at most so many epochs; measure on the test points."""
    seed = spheres.framework_seed(given["seed"])
    torch.manual_seed(seed)
    model = build_model(given)
    from exp.callbacks import LogDatasetLoss
    from src.datasets import Spheres
    from src.datasets.splitting import split_validation
    from src.evaluation.eval import Multi_Evaluation
    from src.evaluation.utils import get_space
    from src.training import TrainingLoop

    training, test = Spheres(train=True), Spheres(train=False)
    _, validation = split_validation(training, given["val_size"], np.random.RandomState(seed))
    logged: dict[str, float] = {}  # of the last epoch
    run = SimpleNamespace(log_scalar=lambda name, value, step: logged.update({name: value}))
    size, start = given["batch_size"], time.perf_counter()
    rates = given["learning_rate"], given["weight_decay"]
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        stopping = {"early_stopping": given["early_stopping"], "save_path": place}
        watched = (
            LogDatasetLoss("validation", validation, run, batch_size=size, **stopping),
            LogDatasetLoss("testing", test, run, batch_size=size),
        )
        ran = TrainingLoop(model, training, epochs, size, *rates, "cpu", watched)()
        model.load_state_dict(torch.load(Path(place) / "model_state.pth"))
    seconds = time.perf_counter() - start
    loader = torch.utils.data.DataLoader(test, size)
    points, labels = get_space(None, loader, "data")
    codes, _ = get_space(model, loader, "latent", "cpu")
    theirs = Multi_Evaluation().get_multi_evals(points, codes, labels, NEIGHBOURS)
    found = measures(points, codes)
    with torch.no_grad():
        decoded = model.decode(torch.from_numpy(codes)).numpy()
    return {
        **found,
        "data MSE": float(((decoded - points) ** 2).mean()),
        spheres.AS_PUBLISHED: logged["testing.reconstruction_error"],
        "difference of measures": max(
            abs(found[ours] / float(theirs[name]) - 1) for ours, name in THEIR_NAMES.items()
        ),
        "epochs": ran,
        "training seconds": seconds,
    }


def difference_of_steps(given: dict[str, Any]) -> dict[str, float]:
    """Largest relative difference of the losses when both codes take the same steps in doubles."""
    torch.manual_seed(spheres.SEEDS[0])
    theirs = build_model(given).double().train()
    torch.manual_seed(spheres.SEEDS[0])  # both draw the same initial parameters
    ours = spheres.Autoencoder().double().train()
    points = torch.from_numpy(spheres.data()[0]).double()
    optimizers = [spheres.adam(model, spheres.TOPOLOGICAL) for model in (theirs, ours)]
    batches = torch.randint(len(points), (STEPS, spheres.TOPOLOGICAL.batch))
    largest = 0.0
    for batch in points[batches]:
        weight = spheres.TOPOLOGICAL.weight
        losses = (
            theirs(batch)[0],
            spheres.losses(ours, batch[None], weight, spheres.topological).sum(),
        )
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        largest = max(largest, abs(float(losses[1].detach() / losses[0].detach()) - 1))
    return {"steps": STEPS, "losses": largest}


def compute(kept: Kept, folder: Path, epochs: int) -> None:
    """Compute what is missing of the authors' own code, trained from a checkout of it."""
    sys.path.insert(0, str(folder))
    for method in ("TopoAE", "AE"):
        for seed, given in configurations(folder, method).items():
            name = f"{method}{spheres.BY_AUTHORS} {seed}"
            kept.compute(name, lambda g=given: of_authors(g, epochs))
    given = configurations(folder, "TopoAE")[spheres.SEEDS[0]]
    kept.compute("difference of steps", lambda: difference_of_steps(given))
