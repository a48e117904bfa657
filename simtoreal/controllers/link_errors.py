"""What hardware that cannot be relied on raises. All are `ConnectionError`s: the guard holds the arm on any of them."""


class LinkError(ConnectionError):
    """A device does not answer, refuses a command, or says what cannot be."""


class ArmStopped(LinkError):
    """The arm's own safety has acted: a protective stop, an emergency stop, a reflex."""


class StalePicture(LinkError):
    """The newest picture is too old to act on."""
