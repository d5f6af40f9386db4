"""Which batches may run in parallel. Pure.

Batches of one wave do not depend on each other, and none writes a plain path that another one reads or
writes; such batches are in different waves, in their order. A chained batch has its own wave.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


class Waves:
    """Takes the batches in their order and gives each its wave, from 1."""

    def __init__(self, at_most: int) -> None:
        self.at_most = at_most
        self.of: list[int] = [0]
        """The wave of each batch; batches count from 1."""
        self._top: list[int] = [0]
        self._written: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._count: dict[int, int] = {}
        self._next: dict[int, int] = {}

    def add(
        self, after: Sequence[int], behind: int, reads: Collection[str], writes: Collection[str], alone: bool
    ) -> int:
        """The wave of the next batch. It waits for the batches `after`, and for all up to `behind`."""
        least = max([self._top[behind], *(self.of[other] for other in after)])
        for path in writes:
            least = max(least, self._written.get(path, 0), self._read.get(path, 0))
        for path in reads:
            least = max(least, self._written.get(path, 0))
        wave = self._top[-1] + 1 if alone else self._free(least + 1)
        self._count[wave] = self.at_most if alone else self._count.get(wave, 0) + 1
        if self._count[wave] >= self.at_most:
            self._next[wave] = wave + 1
        for path in writes:
            self._written[path] = max(wave, self._written.get(path, 0))
        for path in reads:
            self._read[path] = max(wave, self._read.get(path, 0))
        self.of.append(wave)
        self._top.append(max(wave, self._top[-1]))
        return wave

    def _free(self, wave: int) -> int:
        """The first wave from there on that is not full; full ones are passed over faster each time."""
        way = []
        while wave in self._next:
            way.append(wave)
            wave = self._next[wave]
        for passed in way:
            self._next[passed] = wave
        return wave
