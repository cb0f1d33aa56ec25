"""Two ranks of a gloo group, and what the tests let them do."""

import datetime
import multiprocessing
import os
import pathlib
import tempfile

import torch
import torch.distributed as dist
from strategies import gaussian

from topreg import RipsFiltration, TrackCoincidence
from topreg.distributed import all_gather, minimum_spanning_tree
from topreg.metrics import _tiles

PATIENCE = 120  # seconds after which silence is a hang


class Ranks:
    """Processes that run one function each time, with their rank as its first argument."""

    def __init__(self, size=2):
        context = multiprocessing.get_context("spawn")
        self.store = pathlib.Path(tempfile.mkdtemp()) / "store"
        ends = [context.Pipe() for _ in range(size)]
        self.pipes = [own for own, _ in ends]
        self.processes = [
            context.Process(target=_serve, args=(rank, size, str(self.store), end), daemon=True)
            for rank, (_, end) in enumerate(ends)
        ]
        for process, (_, end) in zip(self.processes, ends, strict=True):
            process.start()
            end.close()

    def run(self, function, *arguments):
        """What each rank returned or raised; None for one that died."""
        for pipe in self.pipes:
            pipe.send((function, arguments))
        answers = []
        for rank, pipe in enumerate(self.pipes):
            assert pipe.poll(PATIENCE), f"rank {rank} hangs"
            try:
                answers.append(pipe.recv())
            except EOFError:
                answers.append(None)
        return answers

    def stop(self):
        """End all processes."""
        for process in self.processes:
            process.kill()
            process.join()


def _serve(rank, size, store, pipe):
    torch.set_num_threads(1)
    _tiles.LEAST = 1  # so that a few points fill many tiles
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=datetime.timedelta(seconds=PATIENCE / 2),
    )
    while True:
        function, arguments = pipe.recv()
        try:
            answer = function(rank, *arguments)
        except Exception as error:
            answer = type(error), str(error)
        pipe.send(answer)


def share(rank, rows, cut):
    """Rows of this rank if the first one has ``cut``."""
    return rows[:cut] if rank == 0 else rows[cut:]


def loss_of(points, classes):
    """Uses rows of all ranks, and is not symmetric in them."""
    weights = torch.arange(1.0, len(points) + 1, dtype=points.dtype)
    coincidence = TrackCoincidence()(points, classes)
    return coincidence + (weights[:, None] * points.square()).mean()


def gradient(rank, points, classes, cut, dtype):
    """Gathered rows and the gradient of the common loss in this rank's rows."""
    own = share(rank, points, cut).to(dtype).requires_grad_()
    rows = all_gather(own)
    loss_of(rows, classes.to(dtype)).backward()
    return rows.detach(), own.grad


def local_losses(rank, points, cut):
    """Gradient when rank r's loss is r + 1 times the sum of squares of all rows."""
    own = share(rank, points, cut).requires_grad_()
    ((rank + 1) * all_gather(own).square().sum()).backward()
    return own.grad


def second_derivative(rank, points, cut):
    """Gradient of the squared gradient of the common sum of cubes."""
    own = share(rank, points, cut).requires_grad_()
    (first,) = torch.autograd.grad(all_gather(own).pow(3).sum(), own, create_graph=True)
    all_gather(first).square().sum().backward()
    return own.grad


def parallel_step(rank, points, classes, cut):
    """Parameter gradients of DistributedDataParallel."""
    torch.manual_seed(0)
    model = torch.nn.Linear(points.shape[1], classes.shape[1], dtype=points.dtype)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    loss_of(all_gather(parallel(share(rank, points, cut))), classes).backward()
    return [p.grad for p in model.parameters()]


def tree(rank, points, cut, options):
    """Edges that this rank gets."""
    return minimum_spanning_tree(share(rank, points, cut), **options)


def trees(rank, clouds, cut, options):
    """The same for several clouds."""
    return [tree(rank, cloud, cut, options) for cloud in clouds]


def stages(rank, points):
    """What one rank alone is told of its progress."""
    told = []
    progress = (lambda *message: told.append(message)) if rank == 0 else None
    minimum_spanning_tree(share(rank, points, 20), progress=progress, memory_budget=4000)
    return told


def different(rank, function, inputs):
    """A call with other arguments on each rank."""
    return function(inputs[rank])


def frozen(rank, points):
    """Only one rank wants a gradient."""
    return all_gather(points.requires_grad_(rank == 0))


def without_grad(rank, points):
    """Only one rank records a graph."""
    with torch.set_grad_enabled(rank == 0):
        return all_gather(points.requires_grad_())


def with_options(rank, points, options):
    """Each rank has options of its own."""
    return minimum_spanning_tree(points, **options[rank])


def in_a_group_of_one(rank, points):
    """Each rank has a group to itself."""
    groups = [dist.new_group([other]) for other in range(dist.get_world_size())]
    gathered = all_gather(points + rank, groups[rank])
    return gathered, minimum_spanning_tree(points, group=groups[rank])


def in_a_group_of_others(rank, points):
    """Each rank calls with the group of the other one."""
    groups = [dist.new_group([other]) for other in range(dist.get_world_size())]
    return all_gather(points, groups[1 - rank])


def die(rank, points):
    """Rank 1 dies in the middle of its distances."""

    def progress(stage, done, total):
        if rank == 1:
            os._exit(1)

    return minimum_spanning_tree(points, memory_budget=4000, progress=progress)


def pairs_of(points):
    """What one process finds."""
    return RipsFiltration(engine="tiled").pairs(points)


def cloud(seed, n, d=6):
    """Single-precision points."""
    return gaussian(seed, n, d, dtype=torch.float32)
