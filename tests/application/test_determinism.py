"""The same bytes of everything that is kept, whoever makes the runs, killed or not."""

import json
import multiprocessing
import signal
from pathlib import Path

import pytest
import torch
from application.helpers import environment, kept, python
from application.mortal import work
from vlm_adapters.config import lineage, load_methods
from vlm_adapters.experiments import plan_jobs, run_jobs
from vlm_adapters.runs import ADAPTER, RESULT
from vlm_adapters.tuning import Plan, Search, tune, write_trials

ADAPTERS = ("zero_shot", "linear_probe", "tip_adapter", "clip_adapter", "hc_clip_adapter")
PRESETS = (*ADAPTERS, "hc_tr", "hc_taf", "hc_tr_p1")
ROOTS = ("taskres", "clip_adapter", "tip_adapter_f", "hc_taf")
FAST = tuple(f"{preset}.training.{key}" for preset in ROOTS for key in ("epochs=2", "batch_size=6"))


def fast(presets):
    """The overrides that some of the presets take."""
    used = {member for preset in presets for member in lineage(preset)}
    return tuple(text for text in FAST if text.split(".")[0] in used)


def methods(presets=PRESETS):
    return load_methods(presets, overrides=fast(presets))


def make(source, folder, seeds=(1,), **options):
    run_jobs(source, plan_jobs(methods(), [2], seeds, folder=folder, dataset="x"), **options)
    return kept(folder)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from application.test_determinism import make
from vlm_adapters.features.bundle import BundleSource
make(BundleSource(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_the_same_seed_gives_the_same_bytes_in_any_process(source, bundle_file, tmp_path):
    first = make(source, tmp_path / "a")
    assert len(first) == 2 * len(PRESETS)
    assert {Path(name).name for name in first} == {RESULT, ADAPTER}
    torch.rand(7)  # the global generator is nobody's
    run_jobs(source, plan_jobs(methods(), [1], [5]))
    torch.manual_seed(0)
    assert make(source, tmp_path / "b") == first
    told = []
    assert make(source, tmp_path / "c", processes=2, on_epochs=told.append) == first
    assert sorted(told) == [0, 0, 0, 2, 2, 2, 2, 2]  # after each run
    # Whatever the hash seed: nothing goes through the order of a set.
    python("-c", SCRIPT, bundle_file, tmp_path / "d", env=environment(PYTHONHASHSEED="4242"))
    assert kept(tmp_path / "d") == first


def test_another_seed_gives_another_run(source, tmp_path):
    found = make(source, tmp_path, seeds=(1, 2))
    trained = [name for name in found if "seed1" in name and name.endswith(ADAPTER)]
    differs = [found[name] != found[name.replace("seed1", "seed2")] for name in trained]
    assert sum(differs) == len(PRESETS) - 1  # zero-shot draws nothing


def test_two_threads_give_the_accuracies_of_one(source):
    def accuracies(threads):
        runs = run_jobs(source, plan_jobs(methods(), [2], [1]), threads=threads)
        return [run.accuracies for run in runs]

    assert accuracies(1) == accuracies(2)


def test_a_search_repeats(source, tmp_path):
    rate, weight = "training.learning_rate", "constraint.weight"
    plan = Plan("taskres", {rate: [1e-3, 1e-1]}, "hc_tr", {rate: [0.5]}, {weight: [0.3]})
    search, tried = Search([1], [1, 2], [plan], "last"), methods(("taskres", "hc_tr"))
    for name, jobs in (("a", 1), ("b", 1), ("c", 2)):
        write_trials(tmp_path / name, tune(source, tried, search, jobs=jobs), [])
    first = (tmp_path / "a").read_bytes()
    assert len(json.loads(first)) == 4
    assert [(tmp_path / name).read_bytes() for name in "bc"] == [first, first]


# Kills


SHORT = [f"--set={name}.training.epochs=3" for name in ("taskres", "hc_tr")]
PLAN = """shots = [1]
seeds = [5]
[one]
baseline = "taskres"
constrained = "hc_tr"
[one.shared]
"training.learning_rate" = [0.001, 0.01]
[one.refine]
"training.learning_rate" = [0.5, 2.0]
[one.constrain]
"constraint.weight" = [0.1, 0.2]
"""
COMMANDS = {
    "train": ["--method=hc_tr", "--shots=2", "--threads=1", *SHORT],
    "sweep": ["--methods=zero_shot,taskres,hc_tr", "--shots=1", "--seeds=1,2", "--jobs=1", *SHORT],
    "tune": ["--plan=plan.toml", "--jobs=1", SHORT[0]],
}


def run_once(words, folder, moment=0):
    """Return the exit code of a process, and how often it touched a file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vlm_adapters.cli.report", "vlm_adapters.tuning", "numba"])
    touched = context.Value("i", 0)
    process = context.Process(target=work, args=(words, folder, moment, touched))
    process.start()
    process.join(300)
    return process.exitcode, touched.value


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_goes_on_to_the_same_bytes(name, bundle_file, tmp_path):
    words = [name, f"--bundle={bundle_file}", *COMMANDS[name]]

    def new(part):
        (tmp_path / part).mkdir()
        (tmp_path / part / "plan.toml").write_text(PLAN)
        return tmp_path / part

    run_once(words, new("first"))  # which may compile, and touch more files
    code, touches = run_once(words, new("undisturbed"))
    assert code == 0
    expected = kept(tmp_path / "undisturbed")
    assert touches > 2
    for moment in (1, (1 + touches) // 2, touches):
        mine = new(str(moment))
        assert run_once(words, mine, moment) == (-signal.SIGKILL, moment)
        code, _ = run_once(words, mine)
        assert code == 0
        assert kept(mine) == expected, moment
        hidden = [*mine.glob(".*"), *mine.glob("run/.*"), *mine.glob("runs/**/seed*/.*")]
        assert all(file.name.endswith("lock") for file in hidden), hidden  # no unfinished file
