"""Pools of worker processes that end with whoever started them, also when that one is killed."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

Result = TypeVar("Result")


def worker_pool(
    num_workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> ProcessPoolExecutor:
    """A pool of fresh processes; each calls `initializer(*arguments)` before its first task."""
    context = multiprocessing.get_context("spawn")  # a forked simulator or torch is undefined
    return ProcessPoolExecutor(
        max(1, num_workers), mp_context=context, initializer=_begin, initargs=(initializer, arguments)
    )


def results(tasks: Sequence[Future[Result]]) -> Iterator[Result]:
    """Yields what tasks of a pool return, each as it ends; an error, or nobody listening, calls off the rest."""
    try:
        for task in as_completed(tasks):
            yield task.result()
    finally:
        # One by one: a pool forgets that it was to cancel what is pending when its `with` block ends.
        for task in tasks:
            task.cancel()


def _begin(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with_parent() -> None:
    # A worker that waits for tasks holds both ends of their queue: it would never learn that nobody sends any more.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
