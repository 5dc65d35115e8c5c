"""Significance: how far a score can be trusted, and whether two scores differ by more than chance.

All distributions here follow from one function, the regularised incomplete beta function. SciPy has it too, but
importing `scipy.special` would add three quarters to the time of `zoo compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, exp, inf, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of two means by Welch's t-test.

    Fields:
        difference: the first mean minus the second, in the unit of the values.
        low, high: its confidence interval, which is the difference itself where no value varies at all.
        p: the two-sided p value of the hypothesis that both means are equal, None likewise.
        degrees: the degrees of freedom, None likewise.
    """

    difference: float
    low: float
    high: float
    p: float | None
    degrees: float | None


def wilson_interval(correct: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a share `correct / total`, both ends from 0 to 1; `total` is at least 1.

    With p = correct / total, n = total and z the normal quantile at (1 + confidence) / 2:
    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = correct / total, 1 + z * z / total
    centre = share + z * z / (2 * total)
    reach = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # Here the formula gives exactly 0 and 1, which floating point would miss by a little.
    low = 0.0 if correct == 0 else (centre - reach) / scale
    high = 1.0 if correct == total else (centre + reach) / scale
    return low, high


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the p value of McNemar's exact test, two-sided, for samples that only one of two models gets right.

    If neither is better, each of the n = gained + lost samples falls to either side like a coin. With k the smaller
    count, p = min(1, 2 P(X <= k)) for X ~ Binomial(n, 1/2), where P(X <= k) = I_1/2(n - k, k + 1).
    Source: Q. McNemar, Psychometrika 12 (1947); the binomial sum as a beta function is DLMF 8.17.5.
    """
    total, fewer = gained + lost, min(gained, lost)
    if 2 * fewer >= total - 1:  # the most even split there is
        return 1.0
    return min(1.0, 2 * incomplete_beta(total - fewer, fewer + 1, 0.5))


def holm_adjust(values: Sequence[float]) -> list[float]:
    """Return p values of several tests made at once, adjusted so that even one false alarm among them stays rare.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none falls below a smaller one's or exceeds 1.
    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    adjusted, highest = [1.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1); of a single value the latter is None."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return Student's t interval for the mean behind `values`; None for a single value.

    mean -+ t s / sqrt(n), with t the quantile for n - 1 degrees of freedom.
    """
    mean, deviation = mean_and_deviation(values)
    if deviation is None:
        return None
    reach = student_quantile((1 + confidence) / 2, len(values) - 1) * deviation / sqrt(len(values)) if deviation else 0
    return mean - reach, mean + reach


def welch_test(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Compare the means behind two series of at least two values each, whose spreads may differ.

    With a = s1^2 / n1 and b = s2^2 / n2: t = (mean1 - mean2) / sqrt(a + b), on
    (a + b)^2 / (a^2 / (n1 - 1) + b^2 / (n2 - 1)) degrees of freedom.
    Source: B. L. Welch, The generalization of "Student's" problem, Biometrika 34 (1947).
    """
    (mean, deviation), (other, spread) = mean_and_deviation(first), mean_and_deviation(second)
    if deviation is None or spread is None:
        raise ValueError("a spread needs at least two values")
    difference = mean - other
    a, b = deviation**2 / len(first), spread**2 / len(second)
    if a + b == 0:
        return Difference(difference=difference, low=difference, high=difference, p=None, degrees=None)
    error = sqrt(a + b)
    # Dividing by a + b first keeps the squares of very small spreads from becoming zero.
    degrees = 1 / ((a / (a + b)) ** 2 / (len(first) - 1) + (b / (a + b)) ** 2 / (len(second) - 1))
    reach = student_quantile((1 + confidence) / 2, degrees) * error
    return Difference(
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        p=student_p(difference / error, degrees),
        degrees=degrees,
    )


def student_p(t: float, degrees: float) -> float:
    """Return P(|T| >= |t|) for Student's t distribution: I_x(degrees / 2, 1/2) with x = degrees / (degrees + t^2).

    Source: M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, 26.7.1 and 26.5.27.
    """
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t), complement=t * t / (degrees + t * t))


def student_quantile(probability: float, degrees: float) -> float:
    """Return the t with P(T <= t) = `probability`, from 0 to 1 exclusive, by bisection of `student_p`."""
    tail = 2 * min(probability, 1 - probability)
    low, high = 0.0, 1.0
    while student_p(high, degrees) > tail and high < inf:
        low, high = high, high * 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if student_p(middle, degrees) > tail else (low, middle)
    return copysign(high, probability - 0.5)


def incomplete_beta(a: float, b: float, x: float, *, complement: float | None = None) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for a, b > 0 and x from 0 to 1.

    `complement` is 1 - x where the caller has it more exactly. The continued fraction DLMF 8.17.22, evaluated by
    Lentz's method, converges fast for x < (a + 1) / (a + b + 2); beyond that I_x(a, b) = 1 - I_1-x(b, a) (8.17.4).
    """
    y = 1 - x if complement is None else complement
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, y, complement=x)
    scale = exp(
        a * (log(x) if x < 0.5 else log1p(-y))
        + b * (log1p(-x) if x < 0.5 else log(y))
        + (lgamma(a + b) - lgamma(a) - lgamma(b))
    )
    return scale / a / _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1 / (1 + d2 / (1 + ...)), with the d of DLMF 8.17.23."""
    tiny, exact = 1e-300, 1e-16
    value, c, d = 1.0, 1.0, 0.0
    # The steps needed grow with the square root of the larger argument: a million samples take under a thousand.
    for step in range(1, 100_000):
        m = step // 2
        if step % 2:
            factor = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            factor = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _avoid_zero(1 + factor * d, tiny)
        c = _avoid_zero(1 + factor / c, tiny)
        value *= c * d
        if abs(c * d - 1) < exact:
            break
    return value


def _avoid_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
