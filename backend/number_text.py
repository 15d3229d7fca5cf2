# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of numbers as text, several times as fast as Python's formatting: digits are looked up, not divided out.

A number takes 16 characters, four words of memory: "+1.2" "3456" "789e" "-01,". Each word comes from a table of all
that may stand there.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .errors import LwaeError

DIGITS = 9  # They give every float32 back exactly.
LEAST, MOST = -46, 39  # Decimal exponents of float32 numbers, the smallest ones included.
LEAST_BINARY = -149


def number_rows(numbers: np.ndarray) -> list[str]:
    """Each row of finite float32 [n, m > 0] as comma-separated numbers like +1.23456789e-01.

    They are what `"%+.8e"` gives, except that the last digit of about one number in three millions is one off.

    Raises:
        LwaeError: when one is not finite.
    """
    heads, fours, threes, ends, guesses, powers = _tables()
    flat = np.ascontiguousarray(numbers, dtype=np.float32).ravel()
    if not np.isfinite(flat).all():
        raise LwaeError("Some numbers of these faces are NaN or infinite; make faces that are less extreme.")
    values = np.abs(flat).astype(np.float64)
    exponents = guesses[np.frexp(values)[1] - LEAST_BINARY]  # The right one or one too few.
    exponents[values == 0] = 0
    exponents += values * powers[exponents - LEAST] >= 10**DIGITS - 0.5
    digits = np.rint(values * powers[exponents - LEAST]).astype(np.uint32)
    cells = np.empty((len(flat), 4), dtype=np.uint32)
    cells[:, 0] = heads[digits // 10_000_000 + 100 * np.signbit(flat)]
    cells[:, 1] = fours[digits // 1000 % 10_000]
    cells[:, 2] = threes[digits % 1000]
    cells[:, 3] = ends[exponents - LEAST]
    return [row.tobytes()[:-1].decode("ascii") for row in cells.reshape(len(numbers), 4 * numbers.shape[1])]


@cache
def _tables() -> tuple[np.ndarray, ...]:
    def words(texts) -> np.ndarray:
        return np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint32)

    heads = words(f"{sign}{number // 10}.{number % 10}" for sign in "+-" for number in range(100))
    fours = words(f"{number:04d}" for number in range(10_000))
    threes = words(f"{number:03d}e" for number in range(1000))
    exponents = range(LEAST, MOST + 1)
    ends = words(f"{exponent:+03d}," for exponent in exponents)
    # A number of binary exponent b is at least 2^(b - 1), and less than 2^b.
    guesses = np.floor((np.arange(LEAST_BINARY, 129) - 1) * np.log10(2)).astype(np.int64)
    return heads, fours, threes, ends, guesses, np.array([10.0 ** (DIGITS - 1 - exponent) for exponent in exponents])
