#!/usr/bin/env python3
"""Fits the polynomials of crates/lossmith/src/expr/math.rs and prints them with their largest relative error.

Lawson's iteration: least squares at Chebyshev nodes, weights multiplied by the error until all peaks are equal.
Needs numpy and mpmath."""

import mpmath as mp
import numpy as np

mp.mp.dps = 40


def fit(name, f, weight, low, high, degree):
    """Coefficients (constant first) of the polynomial of this degree with the least max |weight * (p - f)|."""
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    values = np.array([float(f(mp.mpf(x))) for x in nodes])
    weights = np.array([float(weight(mp.mpf(x))) for x in nodes])
    powers = np.vander(nodes, degree + 1, increasing=True)
    lawson = np.ones(len(nodes))
    for _ in range(300):
        scale = np.sqrt(lawson) * weights
        coefficients, *_ = np.linalg.lstsq(powers * scale[:, None], values * scale, rcond=None)
        error = np.abs(weights * (powers @ coefficients - values))
        lawson *= error + error.max() * 1e-3
        lawson /= lawson.sum()
    print(f"{name}, degree {degree}, error {error.max():.1e}: {', '.join(repr(float(c)) for c in coefficients)}")


half = float(mp.log(2) / 2) * 1.0001
fit("(exp(r) - 1 - r)/r^2", lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r * r / mp.exp(r), -half, half, 3)
fit("(exp(r) - 1 - r)/r^2", lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r * r / mp.exp(r), -half, half, 4)
low, high = float(mp.sqrt(0.5)) - 1, float(mp.sqrt(2)) - 1
for degree in (6, 7, 8):
    fit("(log(1 + f) - f + f^2/2)/f^3", lambda f: (mp.log(1 + f) - f + f * f / 2) / f**3,
        lambda f: abs(f**3 / mp.log(1 + f)), low, high, degree)
for degree in (3, 4):
    fit("(tanh(x) - x)/x^3 in x^2", lambda s: (mp.tanh(mp.sqrt(s)) - mp.sqrt(s)) / mp.sqrt(s)**3,
        lambda s: mp.sqrt(s)**3 / mp.tanh(mp.sqrt(s)), 1e-6, 0.4, degree)
