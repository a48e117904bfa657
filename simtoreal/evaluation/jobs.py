"""Episodes spread over worker processes.

A worker imports this file, and with it neither statistics nor reports, which would take it another 70 MB.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from simtoreal.envs.cell import InvalidScene
from simtoreal.evaluation.arena import Arena, ArenaSpec, EpisodeRun, Job
from simtoreal.evaluation.workers import results, worker_pool

_shared: dict[str, Any] = {}  # of one worker process: what its jobs reuse


def open_arena(spec: ArenaSpec) -> None:
    """Prepares this process for `run_job`."""
    _shared["arena"] = Arena(spec)


class Lost(NamedTuple):
    """An episode whose scene the physics lost however often it was drawn: reported, and no reason to stop the rest."""

    job: Job
    reason: str


def run_job(job: Job) -> EpisodeRun | Lost:
    """One episode in the arena of this process."""
    arena: Arena = _shared["arena"]
    try:
        return arena.run(job)
    except InvalidScene as error:
        return Lost(job, str(error))


def run_jobs(spec: ArenaSpec, jobs: Sequence[Job], workers: int) -> Iterator[EpisodeRun | Lost]:
    """Runs episodes in as many processes and yields each as it ends, in whatever order."""
    if not jobs:
        return
    with worker_pool(min(workers, len(jobs)), open_arena, spec) as pool:
        yield from results([pool.submit(run_job, job) for job in jobs])
