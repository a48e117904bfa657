"""Pools of worker processes that end with whoever started them, also when that one is killed."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

Result = TypeVar("Result")
_failures: list[Exception] = []  # of this worker process, at its beginning


def worker_pool(
    num_workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> ProcessPoolExecutor:
    """A pool of fresh processes; each calls `initializer(*arguments)` before its first task.

    What goes wrong in there is the error of every task.
    """
    context = multiprocessing.get_context("spawn")  # a forked simulator or torch is undefined
    return _Pool(max(1, num_workers), mp_context=context, initializer=_begin, initargs=(initializer, arguments))


def results(tasks: Sequence[Future[Result]]) -> Iterator[Result]:
    """Yields what tasks of a pool return, each as it ends; an error, or nobody listening, calls off the rest."""
    try:
        for task in as_completed(tasks):
            yield task.result()
    finally:
        # One by one: a pool forgets that it was to cancel what is pending when its `with` block ends.
        for task in tasks:
            task.cancel()


class _Pool(ProcessPoolExecutor):
    """One whose tasks tell why their process could not begin, where the class it extends says no more than "broken"."""

    def submit(self, task: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        return super().submit(_run, task, *args, **kwargs)


def _run(task: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    if _failures:
        raise _failures[0]
    return task(*args, **kwargs)


def _begin(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        try:
            initializer(*arguments)
        except Exception as error:  # noqa: BLE001 - raised again by every task
            _failures.append(error)


def _end_with_parent() -> None:
    # A worker that waits for tasks holds both ends of their queue: it would never learn that nobody sends any more.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
