"""numba compilation for the numeric kernels: kept on disk where a folder can be written, in memory where none can.

numba notices a change of the file that holds a kernel, not of what the kernel calls elsewhere. Kernels therefore call
only compiled functions of their own file; a stale kernel on disk after an update is then impossible.
"""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])

# Everything that keeps nan and infinity meaningful: nan is "no return" in a depth image.
_FAST_MATH = {"contract", "reassoc", "arcp", "nsz"}


_FunctionCache: Any = FunctionCache  # numba's annotations are incomplete


class _KernelCache(_FunctionCache):  # type: ignore[misc]
    """numba's cache on disk, except that trouble with a file means to compile again instead of an error."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """A kernel from disk, or None. Files of another version may name classes that are gone, or be cut short."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 - unpickling a foreign file can raise anything
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps a kernel on disk, if the disk is not full and the folder can still be written."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def compiled(function: Function) -> Function:
    """Compiles a function at its first call, without Python objects and without bounds checks.

    The machine code is kept beside the source, or in the user's cache folder if the package is read-only, or in
    `NUMBA_CACHE_DIR` if that is set. Where none of them can be written, every process compiles for itself.
    """
    kernel: Any = numba.njit(fastmath=_FAST_MATH, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # numba found no folder to write to
        kernel._cache = _KernelCache(function)
    return cast(Function, kernel)
