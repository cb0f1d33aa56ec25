"""What is wrong with one tensor among good arguments is said of that argument."""

import re

import pytest
import torch

from topreg import (
    CrossBatchMemory,
    Filtration,
    FlagFiltration,
    PersistencePairs,
    RipsFiltration,
    balanced_backward,
    connectivity_loss,
    deviating_perturbation,
    edge_vectors,
    exponential_affinity,
    farthest_point_sampling,
    homology_consistency,
    label_indicators,
    minimum_spanning_tree,
    most_persistent,
    pairwise_distances,
    persistence_between,
    persistence_entropy,
    persistence_image,
    persistence_landscape,
    persistence_tracks,
    rtd,
    rtd_lite,
    signature_loss,
    sliced_wasserstein_distance,
    total_persistence,
    track_coincidence,
    wasserstein_distance,
)

three, labels, edges = torch.eye(3), torch.tensor([0, 0, 1]), torch.tensor([[0, 1], [1, 2]])
row, one = torch.tensor([[0.0, 1.0]]), torch.tensor([0])
RIPS = RipsFiltration()
PAIRS, FLAG = RIPS.pairs(three), FlagFiltration(edges.T, 3)
RANGES = {"birth_range": (0.0, 1.0), "persistence_range": (0.0, 1.0)}


def stored(**tensors):
    """Join to a memory that holds a batch."""
    memory = CrossBatchMemory()
    memory.join(labels, images=three)
    return memory.join(**tensors)


CALLS = {
    connectivity_loss: {"points": three, "scale": 1.0},
    deviating_perturbation: {"source": three, "target": three, "labels": labels, "pairs": PAIRS},
    edge_vectors: {"points": three, "edges": edges},
    exponential_affinity: {"points": three, "keys": three, "sharpness": 1.0},
    farthest_point_sampling: {"points": three, "count": 2},
    homology_consistency: {
        "source": three,
        "target": three,
        "labels": labels,
        "pairs": [PAIRS],
        "perturbation_weight": 1.0,
    },
    label_indicators: {"labels": labels, "cached_labels": labels},
    minimum_spanning_tree: {"distances": pairwise_distances(three)},
    most_persistent: {"diagram": row, "count": 1, "clouds": one},
    pairwise_distances: {"x": three, "y": three},
    persistence_between: {"diagram": row, "low": 0.0},
    persistence_entropy: {"points": three},
    persistence_image: {"diagram": row, "bandwidth": 1.0, **RANGES},
    persistence_landscape: {"diagram": row, "sample_range": (0.0, 1.0)},
    persistence_tracks: {"points": three, "pairs": PAIRS},
    rtd: {"source": three, "target": three},
    rtd_lite: {"source": three, "target": three},
    signature_loss: {"source": three, "target": three},
    sliced_wasserstein_distance: {"first": row, "second": row},
    total_persistence: {"points": three},
    track_coincidence: {"source": three, "target": three, "pairs": PAIRS},
    wasserstein_distance: {"first": row, "second": row},
    balanced_backward: {
        "main": three[0, 0].clone().requires_grad_() * 2,
        "regularizer": three[0, 0],
        "parameters": [three.clone().requires_grad_()],
        "weight": 1.0,
    },
    RIPS.pairs: {"data": three},
    RIPS.all_pairs: {"data": three, "max_dimension": 1},
    RIPS.diagram: {"pairs": PAIRS, "data": three},
    FlagFiltration: {"edge_index": edges.T, "num_vertices": 3, "vertex_births": torch.zeros(3)},
    FLAG.pairs: {"data": torch.ones(2)},
    FLAG.diagram: {"pairs": FLAG.pairs(torch.ones(2)), "data": torch.ones(2)},
    PAIRS.select: {"mask": torch.tensor([True, False])},
    PAIRS.renumber: {"vertices": torch.arange(3), "cloud_sizes": (3,)},
    PAIRS.between: {"labels": labels},
    stored: {"labels": labels, "images": three},
    PersistencePairs: {
        "dimension": 0,
        "birth_edges": edges,
        "death_edges": edges,
        "essential_edges": edges,
        "cloud_sizes": (3,),
    },
}
OTHER_DTYPES = {torch.float32: torch.int64, torch.int64: torch.float32, torch.bool: torch.float32}
PERTURBED = [
    ("no tensor", lambda tensor: "text"),
    ("too many axes", lambda tensor: tensor[None, None, None]),
    ("no axis", lambda tensor: tensor.flatten()[0]),
    ("another kind of number", lambda tensor: tensor.to(OTHER_DTYPES[tensor.dtype])),
    ("another precision", lambda tensor: tensor.double()),
    ("another device", lambda tensor: tensor.to("meta")),
]
ALONE = {  # nothing there says what their precision or device should be
    connectivity_loss,
    farthest_point_sampling,
    minimum_spanning_tree,
    persistence_between,
    persistence_entropy,
    persistence_image,
    persistence_landscape,
    total_persistence,
    RIPS.pairs,
    RIPS.all_pairs,
}
MIXED = {  # precisions that may differ
    edge_vectors,
    most_persistent,
    persistence_tracks,
    RIPS.diagram,
    FlagFiltration,
    FLAG.pairs,
    FLAG.diagram,
}

ALSO_NAMED = {  # what an argument is compared with
    FLAG.pairs: {"edge_index"},
    FLAG.diagram: {"edge_index"},
    FlagFiltration: {"edge_index"},
    PAIRS.between: {"pairs"},
    PAIRS.renumber: {"death_edges"},
    homology_consistency: {"pairs"},
}


def said(call, name):
    """How messages call an argument: what a Vietoris-Rips filtration is given are points."""
    return (
        "points" if call in (RIPS.pairs, RIPS.all_pairs, RIPS.diagram) and name == "data" else name
    )


def cases():
    """Every tensor of every call, in every way wrong."""
    for call, given in CALLS.items():
        for name, value in given.items():
            for wrong, change in PERTURBED:
                if not isinstance(value, torch.Tensor):
                    continue
                precision = wrong == "another precision"
                if precision and (call in MIXED | ALONE or not value.is_floating_point()):
                    continue
                if wrong == "another device" and (call in ALONE or name in ("edge_index", "mask")):
                    continue  # the edges set the device; a mask on the CPU chooses pairs anywhere
                if name in ("main", "regularizer") and wrong not in ("no tensor", "too many axes"):
                    continue  # a loss of any precision anywhere
                yield pytest.param(call, name, change, id=f"{call.__qualname__}-{name}-{wrong}")


@pytest.mark.parametrize(("call", "name", "change"), [*cases()])
def test_the_argument_that_is_wrong_is_named(call, name, change):
    given = CALLS[call]
    with pytest.raises((TypeError, ValueError), match=r"^`") as caught:
        call(**given | {name: change(given[name])})
    subject, _ = re.split(" should ", str(caught.value), maxsplit=1)
    named = set(re.findall(r"`([^`]*)`", subject))
    assert said(call, name) in named
    assert named <= {*(said(call, other) for other in given), *ALSO_NAMED.get(call, ())}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__qualname__)
def test_good_arguments_are_not_refused(call):
    call(**CALLS[call])


LOSSES = (
    connectivity_loss,
    deviating_perturbation,
    homology_consistency,
    persistence_entropy,
    rtd,
    rtd_lite,
    signature_loss,
    total_persistence,
    track_coincidence,
)
OUT_OF_RANGE = [
    *((loss, "reduction", "add") for loss in LOSSES),
    *((loss, "eps", -1.0) for loss in (deviating_perturbation, track_coincidence)),
    *((loss, "undefined", "drop") for loss in (deviating_perturbation, track_coincidence)),
    *((loss, "normalize", wrong) for loss in (rtd, rtd_lite, signature_loss) for wrong in (0, 2)),
    *((loss, "dimensions", (0, 0)) for loss in LOSSES if loss not in (rtd_lite, connectivity_loss)),
    (pairwise_distances, "metric", "cubic"),
    (homology_consistency, "undefined", "drop"),
    (homology_consistency, "eps", -1.0),
    (connectivity_loss, "scale", -1.0),
    (total_persistence, "power", 0.0),
    (total_persistence, "midpoint_power", -1.0),
    (rtd, "power", 0.0),
    (sliced_wasserstein_distance, "directions", 0),
    (wasserstein_distance, "order", 0.5),
    (wasserstein_distance, "ground", 0.5),
    (persistence_image, "bandwidth", 0.0),
    (persistence_image, "weight_power", -1.0),
    (persistence_landscape, "count", 0),
    (persistence_landscape, "resolution", 0),
    (most_persistent, "count", -1),
    (farthest_point_sampling, "count", 0),
    (farthest_point_sampling, "start", 3),
    (homology_consistency, "perturbation_weight", float("inf")),
    *(
        (call, name, value)
        for call, name in [
            (connectivity_loss, "scale"),
            (deviating_perturbation, "eps"),
            (exponential_affinity, "sharpness"),
            (homology_consistency, "perturbation_weight"),
            (persistence_between, "high"),
            (persistence_image, "bandwidth"),
            (rtd, "power"),
            (signature_loss, "normalize"),
            (total_persistence, "power"),
            (track_coincidence, "eps"),
            (wasserstein_distance, "order"),
        ]
        for value in (10**16, 10**400)  # torch cannot compare with either
    ),
    (RIPS.pairs, "dimension", -1),
    (RIPS.all_pairs, "max_dimension", -1),
]


@pytest.mark.parametrize(
    ("call", "name", "value"), OUT_OF_RANGE, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_the_option_that_is_out_of_range_is_named(call, name, value):
    with pytest.raises(ValueError, match=rf"^`(dimension|{name})` should be"):
        call(**CALLS[call] | {name: value})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (signature_loss, "source"),
        (signature_loss, "target"),
        (rtd, "source"),
        (rtd, "target"),
        (rtd_lite, "source"),
        (rtd_lite, "target"),
        (wasserstein_distance, "first"),
        (wasserstein_distance, "second"),
        (sliced_wasserstein_distance, "first"),
        (sliced_wasserstein_distance, "second"),
        (persistence_image, "diagram"),
        (persistence_landscape, "diagram"),
        (minimum_spanning_tree, "distances"),
        (RIPS.pairs, "data"),
        (RIPS.all_pairs, "data"),
        (total_persistence, "points"),
        (FLAG.pairs, "data"),
    ],
)
def test_the_argument_with_nan_is_named(call, name):
    value = CALLS[call][name].clone()
    value[-1] = torch.nan
    with pytest.raises(ValueError, match=rf"^`{said(call, name)}` should be .*NaN"):
        call(**CALLS[call] | {name: value})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (track_coincidence, "source"),
        (deviating_perturbation, "source"),
        (persistence_tracks, "points"),
        (signature_loss, "source"),
        (RIPS.diagram, "data"),
        (FLAG.diagram, "data"),
    ],
)
def test_pairs_on_another_device_are_named(call, name):
    found = CALLS[call].get("pairs", PAIRS).to("meta")
    with pytest.raises(ValueError, match=rf"^`{said(call, name)}` and `pairs` should be on one"):
        call(**CALLS[call] | {"pairs": found})


def test_target_pairs_on_another_device_are_named():
    with pytest.raises(ValueError, match=r"^`target` and `target_pairs` should be on one device\."):
        signature_loss(three, three, target_pairs=PAIRS.to("meta"))


def test_pairs_found_on_another_device_are_named():
    class Elsewhere(Filtration):
        def pairs(self, data, dimension=0):
            return PAIRS.to("meta")

        def diagram(self, pairs, data):
            raise NotImplementedError

    with pytest.raises(ValueError, match=r"^`source` and `pairs` should be on one device\."):
        track_coincidence(three, three, filtration=Elsewhere())
