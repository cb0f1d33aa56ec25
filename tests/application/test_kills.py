"""Commands that are killed at any moment, and run again, leave the bytes of undisturbed ones."""

import multiprocessing
import signal

import pytest
from application.helpers import kept
from application.mortal import work

FAST = [f"--set={name}.training.epochs=3" for name in ("taskres", "hc_tr")]
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
    "train": ["--method=hc_tr", "--shots=2", "--threads=1", *FAST],
    "sweep": ["--methods=zero_shot,taskres,hc_tr", "--shots=1", "--seeds=1,2", "--jobs=1", *FAST],
    "tune": ["--plan=plan.toml", "--jobs=1", FAST[0]],
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
