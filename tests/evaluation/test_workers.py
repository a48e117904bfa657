"""Worker processes: prepared as asked, and gone when whoever started them is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from simtoreal.evaluation.workers import results, worker_pool

PARENT = """
import os, sys
from simtoreal.evaluation.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


def test_a_worker_is_prepared_before_its_first_task(tmp_path: Path):
    with worker_pool(1, os.chdir, tmp_path) as pool:
        assert pool.submit(os.getcwd).result() == str(tmp_path)
        assert pool.submit(os.getpid).result() != os.getpid()


def test_a_worker_that_cannot_be_prepared_says_why():
    with worker_pool(2, int, "no number") as pool:
        for task in [pool.submit(os.getpid) for _ in range(4)]:
            with pytest.raises(ValueError, match="no number"):
                task.result()


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([worker], timeout=20)
    # A process that nobody collects stays as a zombie where the machine has no init.
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_results_come_as_tasks_end_and_an_error_calls_off_the_rest():
    with worker_pool(1) as pool:
        assert sorted(results([pool.submit(abs, -i) for i in range(5)])) == list(range(5))
        tasks = [pool.submit(int, "no number"), *(pool.submit(time.sleep, 0.2) for _ in range(20))]
        with pytest.raises(ValueError, match="no number"):
            list(results(tasks))
    assert sum(task.cancelled() for task in tasks) > 10
