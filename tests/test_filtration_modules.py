"""Filtrations are modules: tensors, learned metrics, the default, equality and training."""

import copy

import pytest
import torch
from strategies import gaussian
from torch import nn
from torch.testing import assert_close

import topreg
from topreg import CubicalFiltration, Filtration, FlagFiltration, RipsFiltration, TotalPersistence
from topreg.filtrations import RIPS, SUPERLEVEL

cloud, other = gaussian(0, 8, 3), gaussian(1, 8, 3)
path = torch.tensor([[0, 1, 2], [1, 2, 3]])
weights = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
births = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


class Normalised(nn.Module):
    """Distances after a learned map and batch normalisation; notes how it is called."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 2, dtype=torch.float64)
        self.norm = nn.BatchNorm1d(2, dtype=torch.float64)
        self.calls = []
        self.fails = False

    def forward(self, x, y):
        self.calls.append((torch.is_grad_enabled(), self.norm.training))
        if self.fails:
            raise RuntimeError("a metric that fails")
        x, y = self.norm(self.map(x)), self.norm(self.map(y))
        return (x[:, None] - y[None]).abs().sum(2)


@pytest.fixture
def metric():
    torch.manual_seed(0)
    return Normalised()


def statistics(metric):
    """Copies of what batch normalisation has seen."""
    return copy.deepcopy(dict(metric.norm.named_buffers()))


GRAPHS = {
    "no births": FlagFiltration(path, 4),
    "births": FlagFiltration(path, 4, vertex_births=births),
    "duplicates": FlagFiltration(
        torch.cat([path, path.flip(0)], 1), 4, vertex_births=births, duplicate_edges="mean"
    ),
}
every_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


@every_graph
def test_no_tensor_of_a_graph_is_stored_with_a_model(graph):
    assert graph.state_dict() == {}
    assert TotalPersistence(filtration=graph).state_dict() == {}
    model = nn.ModuleDict({"loss": TotalPersistence(filtration=graph), "map": nn.Linear(2, 2)})
    assert set(model.state_dict()) == {"map.weight", "map.bias"}


@every_graph
@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m.half(),
        lambda m: m.bfloat16(),
        lambda m: m.float(),
        lambda m: m.to(torch.float16),
        lambda m: m.to("cpu", torch.float16),
        lambda m: m.double(),
    ],
)
def test_indices_stay_int64_and_births_are_not_rounded(graph, convert):
    model = nn.Sequential(copy.deepcopy(graph))
    convert(model)
    for name, buffer in graph.named_buffers():
        found = getattr(model[0], name)
        assert_close(found, buffer, rtol=0, atol=0)
        assert found.dtype == (torch.float64 if name == "vertex_births" else torch.int64)


def test_births_of_half_precision_may_become_longer():
    graph = FlagFiltration(path, 4, vertex_births=births.half()).double()
    assert_close(graph.vertex_births, births.half().double(), rtol=0, atol=0)


@every_graph
def test_tensors_of_a_graph_move_with_the_module(graph):
    moved = nn.Sequential(copy.deepcopy(graph)).to("meta", torch.float16)[0]
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}
    assert graph.edge_index.device.type == "cpu"
    if graph.vertex_births is not None:
        assert moved.vertex_births.dtype == torch.float64


def test_learned_births_are_parameters():
    learned = nn.Parameter(births.clone())
    graph = FlagFiltration(path, 4, vertex_births=learned)
    assert [*graph.parameters()] == [learned]
    (gradient,) = torch.autograd.grad(graph(weights)[:, 0].sum(), learned)
    assert_close(gradient, torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    for moved in (
        copy.deepcopy(graph).half(),
        copy.deepcopy(graph).to("meta", torch.float16),
        copy.deepcopy(graph).to("meta"),
    ):
        (parameter,) = moved.parameters()
        assert moved.vertex_births is parameter


LOSSES = {
    "connectivity_loss": lambda **o: topreg.connectivity_loss(cloud, scale=1.0, **o),
    "deviating_perturbation": lambda **o: topreg.deviating_perturbation(
        cloud, other, torch.arange(8) % 2, **o
    ),
    "homology_consistency": lambda **o: topreg.homology_consistency(
        cloud, other, torch.arange(8) % 2, perturbation_weight=1.0, **o
    ),
    "persistence_entropy": lambda **o: topreg.persistence_entropy(cloud, **o),
    "rtd": lambda **o: topreg.rtd(cloud, other, **o),
    "rtd_lite": lambda **o: topreg.rtd_lite(cloud, other, **o),
    "signature_loss": lambda **o: topreg.signature_loss(cloud, other, **o),
    "total_persistence": lambda **o: topreg.total_persistence(cloud, **o),
    "track_coincidence": lambda **o: topreg.track_coincidence(cloud, other, **o),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
def test_the_default_filtration_is_never_built_inside_a_call(loss, monkeypatch):
    def refuse(self, **options):
        raise AssertionError("a filtration was built inside a call")

    expected = loss(filtration=RipsFiltration())
    monkeypatch.setattr(RipsFiltration, "__init__", refuse)
    assert_close(loss(), expected, rtol=0, atol=0)
    assert_close(loss(filtration=RIPS), expected, rtol=0, atol=0)


def test_losses_on_images_build_no_filtration_inside_a_call(monkeypatch):
    calls = [
        lambda **o: topreg.betti_matching_loss(cloud, other, **o),
        lambda **o: topreg.diagram_matching_loss(cloud, other, **o),
        lambda **o: topreg.betti_prior_loss(cloud, betti_numbers=(1, 1), **o),
    ]
    expected = [call(filtration=CubicalFiltration(superlevel=True)) for call in calls]
    monkeypatch.delattr(CubicalFiltration, "__init__")
    for call, value in zip(calls, expected, strict=True):
        assert_close(call(), value, rtol=0, atol=0)
        assert_close(call(filtration=SUPERLEVEL), value, rtol=0, atol=0)


def test_the_default_filtration_has_the_default_options():
    assert repr(RIPS) == "RipsFiltration()"


@pytest.mark.parametrize(
    ("filtration", "data"),
    [
        (RipsFiltration(metric="manhattan"), cloud),
        (RipsFiltration(), torch.stack([cloud, other])),
        (CubicalFiltration(superlevel=True), torch.stack([cloud, other])),
        (GRAPHS["births"], weights),
        (GRAPHS["no births"], torch.stack([weights, 2 * weights])),
    ],
)
@pytest.mark.parametrize("dimension", [0, 1])
def test_forward_is_the_diagram_of_the_pairs(filtration, data, dimension):
    expected = filtration.diagram(filtration.pairs(data, dimension), data)
    assert_close(filtration(data, dimension), expected, rtol=0, atol=0)
    if dimension == 0:
        assert_close(filtration(data), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "make", [RipsFiltration, CubicalFiltration, lambda: FlagFiltration(path, 4)]
)
def test_equality_and_hash_are_by_identity(make):
    one, same, twin = make(), make(), make()
    assert one == one
    assert one != same
    assert len({one, same, twin, one}) == 3
    assert copy.deepcopy(one) != one


def test_a_derived_filtration_finds_all_pairs_by_itself():
    class Halved(Filtration):
        def pairs(self, data, dimension=0):
            return RIPS.pairs(data, dimension)

        def diagram(self, pairs, data):
            return RIPS.diagram(pairs, data) / 2

    found = Halved().all_pairs(cloud, 1)
    assert [part.dimension for part in found] == [0, 1]
    value = topreg.total_persistence(cloud, filtration=Halved(), dimensions=(0, 1))
    assert_close(value, topreg.total_persistence(cloud, dimensions=(0, 1)) / 2)
    with pytest.raises(TypeError, match="abstract"):
        Filtration()


# Learned metrics


def test_parameters_of_a_learned_metric_appear(metric):
    loss = TotalPersistence(filtration=RipsFiltration(metric=metric))
    assert [*loss.parameters()] == [*metric.parameters()]
    assert {name for name, _ in loss.named_parameters()} == {
        f"filtration.metric.{name}" for name, _ in metric.named_parameters()
    }
    model = nn.ModuleDict({"metric": metric, "loss": loss})  # counted once, not twice
    assert len([*model.parameters()]) == len([*metric.parameters()])


def test_the_search_is_in_eval_mode_without_gradient_and_updates_no_statistics(metric):
    filtration, before = RipsFiltration(metric=metric), statistics(metric)
    pairs = filtration.pairs(cloud)
    filtration.all_pairs(torch.stack([cloud, other]), 1)
    assert set(metric.calls) == {(False, False)}
    assert_close(statistics(metric), before, rtol=0, atol=0)
    metric.calls.clear()
    filtration.diagram(pairs, cloud)
    assert set(metric.calls) == {(True, True)}
    assert metric.norm.num_batches_tracked > 0


@every_loss
def test_every_loss_searches_in_eval_mode_and_measures_in_the_mode_of_the_metric(loss, metric):
    loss(filtration=RipsFiltration(metric=metric))
    assert metric.calls
    for gradient, training in metric.calls:
        assert training == gradient
    assert all(module.training for module in metric.modules())


@pytest.mark.parametrize("fails", [False, True])
def test_the_mode_of_every_part_is_restored(metric, fails):
    metric.map.eval()
    metric.fails = fails
    modes = [module.training for module in metric.modules()]
    try:
        RipsFiltration(metric=metric).pairs(cloud)
    except RuntimeError as error:
        assert str(error) == "a metric that fails"  # noqa: PT017
    assert metric.calls == [(False, False)]
    assert [module.training for module in metric.modules()] == modes
    assert modes == [True, False, True]


def test_a_metric_in_eval_mode_stays_there(metric):
    metric.eval()
    TotalPersistence(filtration=RipsFiltration(metric=metric))(cloud)
    assert not any(module.training for module in metric.modules())
    assert metric.norm.num_batches_tracked == 0


def test_the_gradient_of_a_learned_metric_is_that_of_its_distances(metric):
    metric.eval()
    filtration = RipsFiltration(metric=metric)
    edges = filtration.pairs(cloud).death_edges
    expected = torch.autograd.grad(
        metric(cloud, cloud)[edges[:, 0], edges[:, 1]].sum(), [*metric.map.parameters()]
    )
    value = TotalPersistence(filtration=filtration)(cloud)
    found = torch.autograd.grad(value, [*metric.map.parameters()])
    assert_close(found, expected)


def test_a_learned_metric_trains(metric):
    loss = TotalPersistence(filtration=RipsFiltration(metric=metric))
    optimizer = torch.optim.SGD(metric.map.parameters(), lr=1e-3)
    metric.norm.eval()
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(cloud)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < values[0]
    assert values == sorted(values, reverse=True)
