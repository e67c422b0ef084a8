"""Coefficients of numerics::erf (octet/numerics_functions.h): erf(x) = x * P(x^2) / Q(x^2) on [0, 3.9], Q(0) = 1.

Least squares of P - Q f with f = erf(x) / x on Chebyshev points, reweighted until the relative error is level (Lawson), in
double; then rounded to float. Prints the coefficients, lowest power first, and the error of the float form with FMAs.
Needs numpy and scipy.
"""

import numpy as np
from scipy.special import erf

END, DEGREE = 3.9, 5


def fit(points=4000, rounds=200):
    x = END * (0.5 - 0.5 * np.cos(np.pi * (np.arange(points) + 0.5) / points))
    z, f = x * x, erf(x) / x
    powers = np.stack([z**i for i in range(DEGREE + 1)], 1)
    weight, q, best = np.ones_like(x), np.ones_like(x), None
    for _ in range(rounds):
        w = np.sqrt(weight) / (f * q)
        system = np.concatenate([powers, -f[:, None] * powers[:, 1:]], 1) * w[:, None]
        size = np.abs(system).max(0)
        solution = np.linalg.lstsq(system / size, f * w, rcond=None)[0] / size
        p_coefficients, q_coefficients = solution[: DEGREE + 1], np.concatenate([[1], solution[DEGREE + 1 :]])
        q = powers @ q_coefficients
        error = np.abs(powers @ p_coefficients / q / f - 1)
        if best is None or error.max() < best[0]:
            best = error.max(), p_coefficients.astype(np.float32), q_coefficients.astype(np.float32)
        weight *= (error / error.max() + 1e-3) ** 0.7
        weight /= weight.max()
    return best


def evaluate(x, p, q):
    def horner(coefficients, z):  # an FMA rounds once: in double and then to float, but for rare ties
        y = np.full_like(z, coefficients[-1])
        for c in coefficients[-2::-1]:
            y = (y.astype(np.float64) * z + c).astype(np.float32)
        return y

    x = np.clip(x, -np.float32(END), np.float32(END))
    z = x * x
    return np.clip(x * horner(p, z) / horner(q, z), -1, 1)


if __name__ == "__main__":
    relative, p, q = fit()
    x = np.linspace(0, 4.2, 4000001).astype(np.float32)
    print("P", [str(c) for c in p], "\nQ", [str(c) for c in q])
    print("fit", relative, "float", np.abs(evaluate(x, p, q) - erf(x.astype(np.float64))).max())
