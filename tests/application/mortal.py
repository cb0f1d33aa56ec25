"""A command that dies at a chosen moment; in a module that other processes can import."""

import os
import signal
import sys

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "os.scandir"}
OUTPUTS = ("run", "runs", "tuned")


def work(words, folder, moment, touched):
    """Run a command in a folder; die just before one of the times that it touches a file."""
    os.chdir(folder)
    sys.argv = ["vlm-adapters", *words]
    from vlm_adapters.cli import run
    from vlm_adapters.training import train

    train.__kwdefaults__["seconds_between"] = 0.0  # a checkpoint after each epoch

    def count(event, arguments):
        if event not in TOUCHES or not str(arguments[0]).startswith((str(folder), ".", *OUTPUTS)):
            return
        touched.value += 1
        if touched.value == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    run()
