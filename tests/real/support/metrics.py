"""Parses a scrape of `/metrics`."""

import re

_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """One scrape in the Prometheus text format."""

    def __init__(self, text: str):
        self.text = text
        self.samples: list[tuple[str, dict[str, str], float]] = []
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = _LINE.match(line)
            assert match, f"not a sample: {line!r}"
            name, labels, value = match.groups()
            self.samples.append((name, dict(_LABEL.findall(labels or "")), float(value)))

    def value(self, name: str, **labels: str) -> float:
        """Returns the sum over all series of `name` with these `labels`. Fails if the family has no series."""
        family = [sample for sample in self.samples if sample[0] == name]
        assert family, f"no metric {name}"
        return sum(v for _, have, v in family if labels.items() <= have.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Returns the non-zero sums for each value of `label`."""
        sums: dict[str, float] = {}
        for have, labels, value in self.samples:
            if have == name and value:
                sums[labels[label]] = sums.get(labels[label], 0) + value
        return sums
