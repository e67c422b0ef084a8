"""Coefficients of numerics::gelu (octet/numerics_functions.h): g(a) = a/2 * erfc(a / sqrt 2) on [0, 5.4], by 16 polynomials
of degree 4 in a - 11/32 n, n the nearest whole number to a * 32/11.

Least squares on Chebyshev points, reweighted until the error is level (Lawson): the absolute one, but near 0 the relative
one, with g(0) = 0. Prints a row of 16 coefficients for each power, lowest first, and the error of the float form.
Needs numpy and scipy.
"""

import numpy as np
from scipy.special import erfc

STEP, PIECES, DEGREE, END = 11 / 32, 16, 4, 5.3125


def g(a):
    return 0.5 * a * erfc(a / np.sqrt(2))


def fit(n, points=400, rounds=100):
    lo, hi = max(0, (n - 0.5) * STEP), (n + 0.5) * STEP
    a = 0.5 * (lo + hi) - 0.5 * (hi - lo) * np.cos(np.pi * (np.arange(points) + 0.5) / points)
    first = 1 if n == 0 else 0
    powers = np.vander(a - n * STEP, DEGREE + 1, increasing=True)[:, first:]
    scale = 1 / a if n == 0 else np.ones(points)
    weight, best = np.ones(points), None
    for _ in range(rounds):
        w = np.sqrt(weight) * scale
        c = np.linalg.lstsq(powers * w[:, None], g(a) * w, rcond=None)[0]
        error = np.abs(powers @ c - g(a)) * scale
        if best is None or error.max() < best[0]:
            best = error.max(), np.concatenate([np.zeros(first), c])
        weight *= (error / error.max() + 1e-3) ** 0.7
        weight /= weight.max()
    return best[1].astype(np.float32)


def evaluate(x, table):
    a = np.minimum(np.abs(x), np.float32(END))
    n = np.rint(a.astype(np.float64) * np.float32(32 / 11)).astype(int)
    r = (a - n * STEP).astype(np.float32)  # exact
    y = table[n, DEGREE]
    for k in range(DEGREE - 1, -1, -1):  # an FMA rounds once: in double and then to float, but for rare ties
        y = (y.astype(np.float64) * r + table[n, k]).astype(np.float32)
    return np.maximum(x, 0) - y


if __name__ == "__main__":
    table = np.array([fit(n) for n in range(PIECES)])
    for k in range(DEGREE + 1):
        print("{" + ", ".join(str(c) for c in table[:, k]) + "},")
    x = np.linspace(-8, 8, 4000001).astype(np.float32)
    exact = 0.5 * x.astype(np.float64) * erfc(-x.astype(np.float64) / np.sqrt(2))
    print("error / max(1, |x|):", (np.abs(evaluate(x, table) - exact) / np.maximum(1, np.abs(x))).max())
