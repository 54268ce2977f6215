"""Fits the polynomials of kernels/math.rs and prints their coefficients as hexadecimal bits.

Minimax by Lawson's reweighted least squares in 50-digit arithmetic; coefficients are then rounded to binary32 one by
one, lowest power first, the rest fitted again each time. Needs mpmath: `pip install mpmath`, then run this file.
"""
import struct
from mpmath import mp, mpf, matrix, lu_solve, cos, pi, exp, log, erf, erfc, tanh, sin, sqrt

mp.dps = 50


def f32(x):
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def bits(x):
    return "0x%08x" % struct.unpack("<I", struct.pack("<f", float(x)))[0]


def bits64(x):
    return "0x%016x" % struct.unpack("<Q", struct.pack("<d", float(x)))[0]


def lawson(target, powers, weight, xs, rounds=40):
    """Coefficients of sum c_i x^p_i with the least max of |weight * error| on xs."""
    if not powers:
        return []
    w = [mpf(1) / len(xs)] * len(xs)
    rows = [[x**p for p in powers] for x in xs]
    values, weights = [target(x) for x in xs], [weight(x) for x in xs]
    best, least = None, None
    for _ in range(rounds):
        n = len(powers)
        a, b = matrix(n, n), matrix(n, 1)
        for row, v, g, h in zip(rows, values, weights, w):
            g = g * g * h
            for i in range(n):
                b[i] += g * row[i] * v
                for j in range(n):
                    a[i, j] += g * row[i] * row[j]
        c = list(lu_solve(a, b))
        errors = [abs(g * (sum(k * r for k, r in zip(c, row)) - v)) for row, v, g in zip(rows, values, weights)]
        worst = max(errors)
        if least is None or worst < least:
            best, least = c, worst
        w = [x * e for x, e in zip(w, errors)]
        total = sum(w)
        w = [x / total for x in w]
    return best, least


def fit(name, target, powers, weight, low, high, points=120, width=32):
    xs = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * points)) for i in range(points)]
    xs = [x for x in xs if x != 0]
    _, ideal = lawson(target, powers, weight, xs)
    if width == 64:
        done = lawson(target, powers, weight, xs)[0]
        text = ", ".join(bits64(c) for c in done)
    else:
        done = []
        while len(done) < len(powers):
            fixed = list(zip(done, powers))
            rest = lambda x: target(x) - sum(c * x**p for c, p in fixed)
            done.append(f32(lawson(rest, powers[len(done):], weight, xs, 12)[0][0]))
        text = ", ".join(bits(c) for c in done)
    worst = max(abs(weight(x) * (sum(c * x**p for c, p in zip(done, powers)) - target(x))) for x in xs)
    print(f"{name}: ideal 2^{float(log(ideal, 2)):.1f}, rounded 2^{float(log(worst, 2)):.1f}\n  [{text}]")


ln2 = log(mpf(2))
half = ln2 / 2 * mpf("1.001")
# exp(r) = 1 + r + r^2 * P(r)
fit("exp", lambda r: (exp(r) - 1 - r) / r**2, list(range(5)), lambda r: r**2 / exp(r), -half, half)
# log(1 + f) = f - f^2/2 + f^3 * P(f)
fit("log", lambda f: (log(1 + f) - f + f * f / 2) / f**3, list(range(9)),
    lambda f: f**3 / log(1 + f), sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1)
# tanh(x) = x + x^3 * P(x^2), as a function of s = x^2
fit("tanh", lambda s: (tanh(sqrt(s)) / sqrt(s) - 1) / s, list(range(6)), lambda s: s * sqrt(s) / tanh(sqrt(s)),
    mpf("1e-12"), mpf("0.64") ** 2)
# erf(x) = x + x * P(x^2), small x
fit("erf small", lambda s: erf(sqrt(s)) / sqrt(s) - 1, list(range(7)), lambda s: sqrt(s) / erf(sqrt(s)), mpf("1e-12"), mpf("0.93") ** 2)
# erf(x) = 1 - exp(t * P(t)), t = |x|, large x; weighted by what reaches the result
fit("erf large", lambda t: log(erfc(t)) / t, list(range(9)), lambda t: t * erfc(t) / erf(t), mpf("0.92"), mpf(4))
# sin(r) = r + r^3 P(r^2), cos(r) = 1 - r^2/2 + r^4 Q(r^2), |r| <= pi/4, binary64
q = (pi / 4 * mpf("1.001")) ** 2
fit("sin", lambda s: (sin(sqrt(s)) / sqrt(s) - 1) / s, list(range(6)), lambda s: s, mpf("1e-12"), q, width=64)
fit("cos", lambda s: (cos(sqrt(s)) - 1 + s / 2) / s**2, list(range(5)), lambda s: s**2, mpf("1e-12"), q, width=64)
# log2((1+z)/(1-z)) / z as a function of z^2, and 2^t on [-1/2, 1/2], binary64
z = ((sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1) * mpf("1.001")) ** 2
fit("log2", lambda s: log((1 + sqrt(s)) / (1 - sqrt(s))) / ln2 / sqrt(s), list(range(9)), lambda s: mpf(1), mpf("1e-12"), z, width=64)
fit("exp2", lambda t: mpf(2) ** t, list(range(12)), lambda t: mpf(2) ** -t, mpf("-0.501"), mpf("0.501"), width=64)
for name, value in [("ln2", ln2), ("log2 e", 1 / ln2), ("2/pi", 2 / pi), ("pi/2", pi / 2)]:
    high = f32(value)
    print(name, bits(high), bits(value - high), bits64(value), bits64(value - mpf(float(value))))
ln2_high = mpf(int(ln2 * 2**15)) / 2**15
print("ln2 in 15 bits and the rest", bits(ln2_high), bits(ln2 - ln2_high))
print("2/pi, bits 1 to 384:", "%096x" % int(2 / mp.pi * mpf(2) ** 384) if mp.dps > 130 else "")
