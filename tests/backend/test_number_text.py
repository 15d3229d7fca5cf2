# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of numbers as text, beside Python's own formatting."""

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.number_text import number_rows


def reference(numbers: np.ndarray) -> list[str]:
    return [",".join(f"{value:+.8e}" for value in row) for row in numbers.tolist()]


def read_back(rows: list[str]) -> np.ndarray:
    return np.array([[float(cell) for cell in row.split(",")] for row in rows], dtype=np.float32)


def test_codes_are_written_as_python_does():
    numbers = np.random.default_rng(0).normal(size=(64, 611)).astype(np.float32)
    assert number_rows(numbers) == reference(numbers)


def test_every_float32_comes_back_exactly():
    bits = np.random.default_rng(1).integers(0, 2**32, (300, 1000), dtype=np.uint64).astype(np.uint32)
    numbers = bits.view(np.float32)
    numbers[~np.isfinite(numbers)] = 0
    back = read_back(number_rows(numbers))
    np.testing.assert_array_equal(back.view(np.uint32), numbers.view(np.uint32))


def test_numbers_around_powers_of_ten_zeros_and_the_ends():
    tens = np.float32([10.0**power for power in range(-45, 39)])
    beside = [np.nextafter(tens, np.float32(end)) for end in (0, np.inf)]
    ends = np.float32([0, -0.0, 1e-45, -1e-45, np.finfo(np.float32).max, np.finfo(np.float32).min, 0.5, -0.5])
    numbers = np.concatenate([tens, *beside, -tens, ends])[:, None]
    assert number_rows(numbers) == reference(numbers)


def test_exact_halves_are_rounded_to_even_as_python_does():
    numbers = (np.arange(1_000_000, 1_000_064)[:, None] + np.float32(0.125)).astype(np.float32)
    assert number_rows(numbers) == reference(numbers)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_gets_a_sentence(wrong):
    with pytest.raises(LwaeError, match="NaN or infinite"):
        number_rows(np.array([[1, wrong]], np.float32))


def test_no_rows_and_rows_that_do_not_lie_side_by_side_in_memory():
    assert number_rows(np.zeros((0, 3), np.float32)) == []
    numbers = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    assert number_rows(numbers) == reference(numbers)
