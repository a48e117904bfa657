"""numba compilation for the numeric kernels: kept on disk where a folder can be written, in memory where none can.

numba notices a change of the file that holds a kernel, not of what the kernel calls elsewhere. Kernels therefore call only
compiled functions of their own file; a stale kernel on disk after an update is then impossible.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Everything that keeps nan and infinity meaningful: nan is "no return" in a depth image.
_FAST_MATH = {"contract", "reassoc", "arcp", "nsz"}


def compiled(function: Function) -> Function:
    """Compiles a function at its first call, without Python objects and without bounds checks.

    The machine code is kept beside the source, or in the user's cache folder if the package is read-only, or in
    `NUMBA_CACHE_DIR` if that is set. Where none of them can be written, every process compiles for itself.
    """
    options: dict[str, Any] = {"fastmath": _FAST_MATH, "error_model": "numpy"}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba found no folder to write to
        return cast(Function, numba.njit(**options)(function))
