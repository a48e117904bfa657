"""The one error of calibration."""

from simtoreal.schema import ConfigError


class CalibrationError(ConfigError):
    """Pictures or poses do not make a calibration; the message says which, why and what to do."""
