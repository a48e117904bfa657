"""Stamps of a device, on the monotonic clock of this computer."""

from simtoreal.controllers.link_errors import LinkError

_DRIFT = 5e-5  # quartz clocks differ by less


class DeviceClock:
    """Maps the time of a device by its quickest messages: `offset = min(received - stamped)`.

    A message is never received before it was sent, and the quickest one was delayed least; the estimate may rise again
    by the drift of a quartz clock, so that a device whose clock runs slower is followed. The least delay remains.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._offset_s: float | None = None
        self._stamp_s = 0.0
        self._at_s = 0.0

    def monotonic(self, stamp_s: float, received_s: float) -> float:
        """When a message was stamped, on `time.monotonic`; never after it was received.

        Raises:
            LinkError: the stamps of the device run back.
        """
        offset_s = received_s - stamp_s
        if self._offset_s is None:
            self._offset_s = offset_s
        elif stamp_s < self._stamp_s:
            raise LinkError(
                f"{self._what}: its stamps run back, from {self._stamp_s:.3f} to {stamp_s:.3f} s: restarted?"
            )
        else:
            self._offset_s = min(offset_s, self._offset_s + _DRIFT * (received_s - self._at_s))
        self._stamp_s, self._at_s = stamp_s, received_s
        return stamp_s + self._offset_s
