"""Figures of a running server in the text format of Prometheus (exposition format 0.0.4)."""

import bisect
import math
import threading
from collections import Counter
from enum import StrEnum

_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Outcome(StrEnum):
    """What became of a request, or of somebody who wanted to connect."""

    ANSWERED = "answered"
    INVALID = "invalid"  # its content cannot be used
    LATE = "late"  # past its deadline before it was begun, or when it was done
    SUPERSEDED = "superseded"  # a newer one of the same client came first
    STOPPED = "stopped"  # a controller that was stopped, and not reset since
    FAILED = "failed"  # the policy or the controller raised


class Histogram:
    """Durations by how long they were."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self._counts[bisect.bisect_left(_BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def lines(self, name: str) -> list[str]:
        """Cumulative counts, as the format wants them."""
        total, lines = 0, []
        for bound, count in zip((*_BOUNDS_S, math.inf), self._counts, strict=True):
            total += count
            label = "+Inf" if math.isinf(bound) else f"{bound:g}"
            lines.append(f'{name}_bucket{{le="{label}"}} {total}')
        return [*lines, f"{name}_sum {self._sum_s!r}", f"{name}_count {total}"]


class Metrics:
    """What a server counts; may be told and asked from any thread."""

    def __init__(self, serves: str) -> None:
        self._serves = serves
        self._lock = threading.Lock()
        self._requests: Counter[Outcome] = Counter(dict.fromkeys(Outcome, 0))
        self._rejected: Counter[str] = Counter({"token": 0, "full": 0})
        self._infer, self._request = Histogram(), Histogram()
        self.num_clients = 0

    def request(self, outcome: Outcome, took_s: float, infer_s: float | None = None) -> None:
        """Notes a request that is done.

        Args:
            outcome: what became of it.
            took_s: from its arrival to its answer.
            infer_s: the policy's or the controller's own share of that.
        """
        with self._lock:
            self._requests[outcome] += 1
            self._request.observe(took_s)
            if infer_s is not None:
                self._infer.observe(infer_s)

    def rejected(self, reason: str) -> None:
        """Notes somebody who was not let in: `token` or `full`."""
        with self._lock:
            self._rejected[reason] += 1

    @property
    def num_answered(self) -> int:
        return self._requests[Outcome.ANSWERED]

    def text(self) -> str:
        """Everything, as `GET /metrics` answers it."""
        with self._lock:
            lines = [
                "# HELP simtoreal_serving What is served; always 1.",
                "# TYPE simtoreal_serving gauge",
                f'simtoreal_serving{{serves="{self._serves}"}} 1',
                "# HELP simtoreal_clients Clients that are connected.",
                "# TYPE simtoreal_clients gauge",
                f"simtoreal_clients {self.num_clients}",
                "# HELP simtoreal_rejected_total Connections that were not let in.",
                "# TYPE simtoreal_rejected_total counter",
                *(f'simtoreal_rejected_total{{reason="{name}"}} {n}' for name, n in self._rejected.items()),
                "# HELP simtoreal_requests_total Requests by what became of them.",
                "# TYPE simtoreal_requests_total counter",
                *(f'simtoreal_requests_total{{outcome="{name}"}} {n}' for name, n in self._requests.items()),
                "# HELP simtoreal_infer_seconds Time that the policy or the controller took.",
                "# TYPE simtoreal_infer_seconds histogram",
                *self._infer.lines("simtoreal_infer_seconds"),
                "# HELP simtoreal_request_seconds Time from the arrival of a request to its answer.",
                "# TYPE simtoreal_request_seconds histogram",
                *self._request.lines("simtoreal_request_seconds"),
            ]
        return "\n".join(lines) + "\n"
