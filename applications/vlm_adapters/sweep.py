"""Runs over methods, shots and seeds: planned, dry or real, each resumable."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .config import lineage, load_methods
from .experiments import Job, plan_jobs, run_jobs
from .inputs import FeatureInputs, OpenSource
from .options import Method
from .runs import Run
from .tasks import TaskSource

__all__ = ["Sweep"]


@dataclass(frozen=True)
class Sweep:
    """Independent runs on the tasks of one data set.

    Attributes:
        inputs: Images and features.
        presets: Methods, as :func:`vlm_adapters.config.load_methods` takes them.
        shots: Shot counts.
        seeds: Seeds.
        out: Folder of all runs.
        tuned: Tuned values over the published ones.
        overrides: ``preset.section.key=value`` each.
        every: Whether to evaluate every protocol.
    """

    inputs: FeatureInputs
    presets: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    out: Path
    tuned: str | None = None
    overrides: tuple[str, ...] = ()
    every: bool = False

    @property
    def draws(self) -> list[tuple[int, int]]:
        """Shots and seed of each task."""
        return [(shots, seed) for shots in self.shots for seed in self.seeds]

    def methods(self) -> dict[str, Method]:
        """The methods by preset name, with the values published for the data set."""
        return load_methods(
            self.presets, dataset=self.inputs.published, tuned=self.tuned, overrides=self.overrides
        )

    def jobs(self) -> list[Job]:
        """One job for each run."""
        return plan_jobs(
            self.methods(), self.shots, self.seeds,
            folder=self.out, dataset=self.inputs.name, every=self.every,
            device=self.inputs.device,
        )  # fmt: skip

    def commands(self, threads: int = 1) -> list[str]:
        """One command for each run, ready for a cluster's job array.

        Args:
            threads: Of each run.

        Returns:
            Lines of a shell.
        """
        sources = dict(zip(self.methods(), self.presets, strict=True))
        return [
            shlex.join([*self._train(job, sources[job.preset]), f"--threads={threads}"])
            for job in self.jobs()
        ]

    def extract_command(self) -> str:
        """The command that extracts what all runs need, to be run before several at a time."""
        draws = (
            f"--{name}={','.join(map(str, values))}"
            for name, values in (("shots", self.shots), ("seeds", self.seeds))
        )
        return shlex.join(["vlm-adapters", "extract", *draws, *self.inputs.arguments()])

    def _train(self, job: Job, source: str) -> list[str]:
        """The words of the command that makes one run."""
        family = {Path(member).stem for member in lineage(source)}
        mine = [text for text in self.overrides if text.split(".")[0].strip() in family]
        return [
            "vlm-adapters", "train", f"--method={source}", f"--shots={job.shots}",
            f"--seed={job.seed}", f"--out={job.folder}", *self.inputs.arguments(),
            *[f"--tuned={self.tuned}"] * bool(self.tuned), *[f"--set={text}" for text in mine],
            *["--every-protocol"] * self.every,
        ]  # fmt: skip

    def source(self, opened: OpenSource) -> TaskSource:
        """What the tasks are drawn from; extracts what is not there, writes the index lists.

        Args:
            opened: The open inputs.

        Returns:
            The source.
        """
        source = opened(self.draws)
        source.write_index_lists(self.out / "few_shot", self.draws)
        return source

    def run(
        self,
        source: TaskSource,
        *,
        processes: int = 1,
        threads: int = 1,
        on_run: Callable[[Job], None] = lambda job: None,
    ) -> list[Run]:
        """Make the runs that are not there yet.

        Args:
            source: From :meth:`source`.
            processes: How many runs at a time.
            threads: Of each process.
            on_run: Called after each run.

        Returns:
            All runs.

        Raises:
            ValueError: If a folder holds a result of other settings.
        """
        return run_jobs(source, self.jobs(), processes=processes, threads=threads, on_run=on_run)
