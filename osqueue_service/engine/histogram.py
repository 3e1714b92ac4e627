"""How durations are spread, in a few dozen integers."""


class Histogram:
    """Counts of whole milliseconds in buckets a fifth of an octave wide or less: a percentile is within 25 %."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0

    def add(self, ms: int) -> None:
        """Count one duration; a negative one (clocks were slewed) counts as 0."""
        if ms < 8:
            bucket = max(ms, 0)
        else:
            # The position of the leading bit and the two bits after it: four buckets per octave.
            octave = ms.bit_length()
            bucket = octave * 4 + (ms >> (octave - 3) & 3)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1

    def merge(self, other: "Histogram") -> None:
        """Count all that the other counted, too."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count

    def percentile_ms(self, fraction: float) -> float:
        """The duration that this fraction stays below; 0 when nothing was counted."""
        left = fraction * self.count
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return _middle(bucket)
        return 0.0


def _middle(bucket: int) -> float:
    if bucket < 8:
        return float(bucket)
    octave, quarter = divmod(bucket, 4)
    return (4 + quarter + 0.5) * 2.0 ** (octave - 3)
