"""Frames of tf over time: edges that move are interpolated each on its own, then the chain is multiplied."""

from collections.abc import Callable

from simtoreal import frames
from simtoreal.episodes.importing.row_mapping import FloatArray
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.timeline import Track, pose_track

MAX_DEPTH = 100
MAX_FRAMES = 10_000


class TransformTree:
    """Where frames are in one another.

    Args:
        max_gap_s: longest time between two transforms of an edge that is interpolated over.
    """

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap_s = max_gap_s
        self._parents: dict[str, str] = {}
        self._fixed: dict[str, FloatArray] = {}
        self._moving: dict[str, Track[FloatArray]] = {}

    def add(self, parent: str, child: str, T_parent_child: FloatArray, t_s: float | None) -> None:
        """Takes up a transform; without a time it holds always.

        Raises:
            SourceError: its time goes back, or a frame gets a second parent.
        """
        parent, child = parent.strip("/"), child.strip("/")
        known = self._parents.setdefault(child, parent)
        if known != parent:
            raise SourceError(f"the tf frame {child} hangs on {known} and on {parent}")
        if len(self._parents) > MAX_FRAMES:
            raise SourceError(f"there are more than {MAX_FRAMES} tf frames")
        if t_s is None:
            self._fixed[child] = T_parent_child
            return
        track = self._moving.setdefault(child, pose_track(self._max_gap_s))
        if t_s < track.end_s:
            raise SourceError(f"tf {parent} -> {child}: time goes back from {track.end_s:.6f} s to {t_s:.6f} s")
        track.add(t_s, T_parent_child)

    def at(self, base: str, frame: str, t_s: float) -> FloatArray | None:
        """`T_base_frame` (4, 4) at a time, None where an edge has a gap or there is no chain."""
        return self._between(base, frame, lambda child: self._edge(child, t_s))

    def fixed(self, base: str, frame: str) -> FloatArray | None:
        """`T_base_frame` (4, 4) if there is a chain and no edge of it moves, else None."""
        return self._between(base, frame, self._fixed.get)

    def end_s(self, base: str, frame: str) -> float:
        """Up to when all moving edges between two frames are known; minus infinity without a chain."""
        to_base, to_frame = self._paths(base, frame)
        if to_base is None or to_frame is None:
            return float("-inf")
        moving = [self._moving[child].end_s for child in to_base + to_frame if child in self._moving]
        return min(moving, default=float("inf"))

    def known(self) -> list[str]:
        """Names of all frames."""
        return sorted({*self._parents, *self._parents.values()})

    def forget_before(self, t_s: float) -> None:
        """Drops what is not needed for times from `t_s` on."""
        for track in self._moving.values():
            track.forget_before(t_s)

    def _edge(self, child: str, t_s: float) -> FloatArray | None:
        return self._moving[child].at(t_s) if child in self._moving else self._fixed.get(child)

    def _between(self, base: str, frame: str, edge: Callable[[str], FloatArray | None]) -> FloatArray | None:
        to_base, to_frame = self._paths(base, frame)
        if to_base is None or to_frame is None:
            return None
        T_common = []
        for path in (to_base, to_frame):
            T = frames.transform()
            for child in path:
                T_parent_child = edge(child)
                if T_parent_child is None:
                    return None
                T = T_parent_child @ T
            T_common.append(T)
        return frames.invert(T_common[0]) @ T_common[1]

    def _paths(self, base: str, frame: str) -> tuple[list[str] | None, list[str] | None]:
        """The frames from each of the two up to, and without, the first one above both."""
        above_base, above_frame = self._chain(base.strip("/")), self._chain(frame.strip("/"))
        common = next((name for name in above_base if name in above_frame), None)
        if common is None:
            return None, None
        return above_base[: above_base.index(common)], above_frame[: above_frame.index(common)]

    def _chain(self, frame: str) -> list[str]:
        """The frame and everything above it, up to the root."""
        chain = [frame]
        while (parent := self._parents.get(chain[-1])) is not None:
            if parent in chain or len(chain) > MAX_DEPTH:
                raise SourceError(f"tf goes in circles: {' -> '.join([*chain, parent])[:200]}")
            chain.append(parent)
        return chain
