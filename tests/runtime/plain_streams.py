"""How inputs are drawn, as README.md says it, in plain Python: what a reader in another language writes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

from edgegan.runtime.ziggurat import EDGE, tables

M32, M64, M128 = 2**32 - 1, 2**64 - 1, 2**128 - 1
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
TABLES = tables()


def float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def words(value: int) -> list[int]:
    """The 32-bit words of a number, the lowest first; one at least."""
    found = [value & M32]
    while value := value >> 32:
        found.append(value & M32)
    return found


def entropy(seed: int, index: int) -> list[int]:
    low, *high = words(seed)
    return [low, index, *high]


def seeded(entropy: Sequence[int]) -> list[int]:
    """Four 64-bit words of state: O'Neill's seed_seq, as numpy's SeedSequence has it."""
    hash_a, pool = 0x43B0D7E5, []

    def hashed(value: int) -> int:
        nonlocal hash_a
        value ^= hash_a
        hash_a = hash_a * 0x931E8875 & M32
        value = value * hash_a & M32
        return value ^ value >> 16

    def mixed(x: int, y: int) -> int:
        value = (0xCA01F9DD * x - 0x4973F715 * y) & M32
        return value ^ value >> 16

    for place in range(4):
        pool.append(hashed(entropy[place] if place < len(entropy) else 0))
    for source in range(4):
        for place in range(4):
            if place != source:
                pool[place] = mixed(pool[place], hashed(pool[source]))
    for word in entropy[4:]:
        for place in range(4):
            pool[place] = mixed(pool[place], hashed(word))
    hash_b, state = 0x8B51F9DD, []
    for place in range(8):
        value = pool[place % 4] ^ hash_b
        hash_b = hash_b * 0x58F38DED & M32
        value = value * hash_b & M32
        state.append(value ^ value >> 16)
    return [state[2 * place] | state[2 * place + 1] << 32 for place in range(4)]


class Stream:
    """PCG64, and what is drawn from it."""

    def __init__(self, seed: int, index: int) -> None:
        high, low, sequence_high, sequence_low = seeded(entropy(seed, index))
        self.increment = ((sequence_high << 64 | sequence_low) << 1 | 1) & M128
        self.state = ((self.increment + (high << 64 | low)) * MULTIPLIER + self.increment) & M128
        self.kept: int | None = None

    def bits64(self) -> int:
        self.state = (self.state * MULTIPLIER + self.increment) & M128
        value, turn = (self.state >> 64 ^ self.state) & M64, self.state >> 122
        return (value >> turn | value << (-turn & 63)) & M64

    def bits32(self) -> int:
        if self.kept is not None:
            value, self.kept = self.kept, None
            return value
        value = self.bits64()
        self.kept = value >> 32
        return value & M32

    def unit32(self) -> float:
        return (self.bits32() >> 8) * 2.0**-24

    def normal(self) -> float:
        k, w, f = (TABLES[name] for name in "kwf")
        while True:
            bits = self.bits32()
            layer, negative, size = bits & 0xFF, bits >> 8 & 1, bits >> 9
            x = float32(size * w[layer])
            x = -x if negative else x
            if size < k[layer]:
                return x
            if layer == 0:
                return self.tail(size)
            height = float32(float32(float32(f[layer - 1] - f[layer]) * self.unit32()) + f[layer])
            if height < math.exp(-0.5 * x * x):
                return x

    def tail(self, size: int) -> float:
        edge, inverse = float32(EDGE), float32(1 / EDGE)
        while True:
            x = float32(-inverse * float32(math.log1p(-self.unit32())))
            y = -float32(math.log1p(-self.unit32()))
            if float32(y + y) > float32(x * x):
                return -float32(edge + x) if size >> 8 & 1 else float32(edge + x)

    def uniform(self, low: float, high: float) -> float:
        return float32(low + (high - low) * ((self.bits64() >> 11) * 2.0**-53))

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1 (Lemire 2019)."""
        if count == 1:
            return 0
        bits, draw = (32, self.bits32) if count <= 2**32 else (64, self.bits64)
        if count == 1 << bits:
            return draw()
        product = draw() * count
        while product % (1 << bits) < (1 << bits) % count:
            product = draw() * count
        return product >> bits

    def masked(self, most: int) -> int:
        """A whole number from 0 to most: as many bits as it has, drawn again where they are more."""
        draw = self.bits32 if most < 2**32 else self.bits64
        while (value := draw() & (1 << most.bit_length()) - 1) > most:
            pass
        return value

    def rows(self, count: int) -> Iterator[int]:
        while True:
            order = list(range(count))
            for last in range(count - 1, 0, -1):
                other = self.masked(last)
                order[last], order[other] = order[other], order[last]
            yield from order
