"""Sums of floats that do not depend on the order of the terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch

# int64 holds the sum of 2**(63 - BITS) digits
BITS = 40
# sums of float32 numbers are multiples of 2**-149
LOWEST = -4 * BITS
NOTHING: Mapping[int, torch.Tensor] = MappingProxyType({})


class ExactSum:
    """The sum of float64 tensors of one shape, kept as integers, which add up to the same in any order.

    So sums over parts of the data can be merged into the sum over all of it, as the terms are split into digits
    before they meet (Demmel and Nguyen 2013, Fast Reproducible Floating-Point Summation). It holds up to ``2**23``
    terms; of each, what is below ``2**-160`` is left out.

    Args:
        digits: those of another one.

    Attributes:
        digits: int64 tensors by exponent: the sum is that of ``digit * 2**exponent``. They are never written to.
    """

    def __init__(self, digits: Mapping[int, torch.Tensor] = NOTHING) -> None:
        self.digits = dict(digits)

    def add(self, term: torch.Tensor) -> None:
        largest = float(term.abs().max()) if term.numel() else 0.0
        exponent = math.frexp(largest)[1] // BITS * BITS
        while exponent >= LOWEST and bool(term.any()):
            digit = torch.trunc(term * 2.0**-exponent)
            self._add(exponent, digit.to(torch.int64))
            term = term - digit * 2.0**exponent
            exponent -= BITS

    def merge(self, other: ExactSum) -> None:
        """Add all terms of another one."""
        for exponent, digit in other.digits.items():
            self._add(exponent, digit)

    def total(self) -> torch.Tensor | float:
        """The sum, rounded to float64; 0 if there is no term but zeros."""
        exponents = sorted(self.digits)
        return sum((self.digits[exponent].double() * 2.0**exponent for exponent in exponents), 0.0)

    def _add(self, exponent: int, digit: torch.Tensor) -> None:
        self.digits[exponent] = self.digits[exponent] + digit if exponent in self.digits else digit
