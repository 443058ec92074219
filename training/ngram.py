"""A 5-gram model with interpolated Kneser-Ney smoothing over the same tokens: the baseline to beat."""

import numpy as np

ORDER = 5
BITS = 12  # of a token id
DISCOUNT = 0.75


def keys(ids: np.ndarray, length: int) -> np.ndarray:
    """Every run of `length` tokens as one integer, the last token in the low bits."""
    count = len(ids) - length + 1
    packed = np.zeros(count, np.int64)
    for i in range(length):
        packed = packed << BITS | ids[i : i + count]
    return packed


class Grams:
    """Counts of the runs of one length, and of what follows their contexts."""

    def __init__(self, runs: np.ndarray, counts: np.ndarray):
        self.runs, self.counts = runs, counts
        self.contexts, first, self.followers = np.unique(
            runs >> BITS, return_index=True, return_counts=True
        )
        self.totals = np.add.reduceat(counts, first)

    @staticmethod
    def find(table: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """values[where table == wanted], 0 where it is nowhere."""
        at = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
        return np.where(table[at] == wanted, values[at], 0)

    def interpolate(self, wanted: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """Probabilities of the runs' last tokens, `shorter` being those of the next shorter context."""
        total = self.find(self.contexts, self.totals, wanted >> BITS)
        count = self.find(self.runs, self.counts, wanted)
        kept = (
            np.maximum(count - DISCOUNT, 0)
            + DISCOUNT * self.find(self.contexts, self.followers, wanted >> BITS) * shorter
        )
        return np.where(total > 0, kept / np.maximum(total, 1), shorter)


class FiveGram:
    def __init__(self, ids: np.ndarray, vocabulary: int):
        self.uniform = 1 / vocabulary
        self.grams = []
        runs, counts = np.unique(keys(ids.astype(np.int64), ORDER), return_counts=True)
        self.grams.append(Grams(runs, counts))
        # Shorter runs count how many different tokens stand before them.
        for length in range(ORDER - 1, 0, -1):
            runs, counts = np.unique(runs & ((1 << BITS * length) - 1), return_counts=True)
            self.grams.append(Grams(runs, counts))

    def bits(self, ids: np.ndarray) -> float:
        """The bits of a text's tokens after its first; nothing before the text is known."""
        ids = ids.astype(np.int64)
        total = 0.0
        for start, stop, lengths in (
            (ORDER - 1, len(ids), ORDER),
            *((i, i + 1, i + 1) for i in range(1, ORDER - 1)),
        ):
            if stop <= start or stop > len(ids):
                continue
            probability = np.full(stop - start, self.uniform)
            for grams, length in zip(reversed(self.grams), range(1, lengths + 1)):
                window = keys(ids[start - length + 1 : stop], length)
                probability = grams.interpolate(window, probability)
            total -= np.log2(probability).sum()
        return float(total)
