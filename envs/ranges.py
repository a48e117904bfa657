"""A randomization range is data: an operator and two ends, written the way it is read, `=U(0.4, 1.0)`.

| operator | value drawn |
|---|---|
| `=U(a, b)` | uniform in [a, b] |
| `*U(a, b)` | nominal times uniform |
| `+U(a, b)` | nominal plus uniform |
| `=LogU(a, b)`, `*LogU(a, b)` | the same, uniform in the logarithm: as often below a factor as above it |
"""

import math
import re
from dataclasses import dataclass

OPERATORS = ("=U", "*U", "+U", "=LogU", "*LogU")
_FORM = re.compile(r"\s*([=*+](?:U|LogU))\(\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*\)\s*")
_ALLOWED = f"one of {', '.join(f'{operator}(low, high)' for operator in OPERATORS)}, or one number"


@dataclass(frozen=True)
class Range:
    """Values between two ends, set, scaled or added by `op`.

    Example:
        >>> Range.parse("*U(0.5, 2.0)").ends(nominal=3.0)
        (1.5, 6.0)

    Raises:
        ValueError: an unknown operator, ends that are not finite or not in order, a logarithm of zero or less.
    """

    op: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise ValueError(f"operator {self.op!r} is unknown; allowed: {_ALLOWED}")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self} needs finite ends with low <= high")
        if self.is_log and self.low <= 0:
            raise ValueError(f"{self} needs ends above 0, because it is uniform in the logarithm")

    @classmethod
    def parse(cls, text: object) -> "Range":
        """Reads `=U(0.4, 1.0)` and its kin, or one number, which is that value always.

        Raises:
            ValueError: the text is neither; says what is allowed.
        """
        if isinstance(text, Range):
            return text
        if isinstance(text, int | float) and not isinstance(text, bool):
            return cls.constant(float(text))
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        try:
            if match is None:
                return cls.constant(float(str(text)))
            ends = (float(match[2]), float(match[3]))
        except ValueError:
            raise ValueError(f"{text!r} is not a range; allowed: {_ALLOWED}") from None
        return cls(match[1], *ends)

    @classmethod
    def constant(cls, value: float) -> "Range":
        """The range that holds one value."""
        return cls("=U", value, value)

    @property
    def is_log(self) -> bool:
        """Whether the draw is uniform in the logarithm."""
        return self.op.endswith("LogU")

    def ends(self, nominal: float) -> tuple[float, float]:
        """Smallest and largest value that can be drawn around `nominal`."""
        ends = (self._apply(self.low, nominal), self._apply(self.high, nominal))
        return min(ends), max(ends)

    def at(self, share: float, nominal: float) -> float:
        """The value a share in [0, 1] of the way from the low end to the high end."""
        ratio_or_width = self.high / self.low if self.is_log else self.high - self.low
        inner = self.low * ratio_or_width**share if self.is_log else self.low + share * ratio_or_width
        # Rounding must not lead out of the range that was promised.
        return self._apply(min(max(inner, self.low), self.high), nominal)

    def _apply(self, value: float, nominal: float) -> float:
        if self.op[0] == "*":
            return nominal * value
        return nominal + value if self.op[0] == "+" else value

    def __str__(self) -> str:
        if self.op == "=U" and self.low == self.high:
            return _short(self.low)
        return f"{self.op}({_short(self.low)}, {_short(self.high)})"


def _short(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
