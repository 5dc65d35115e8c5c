"""The statistics are those of SciPy, on random cases and at the ends of their ranges."""

from __future__ import annotations

import math
import random

import pytest
import scipy.special
import scipy.stats

from zoo.results.significance import (
    holm_adjust,
    incomplete_beta,
    mcnemar_p,
    mean_and_deviation,
    mean_interval,
    student_p,
    student_quantile,
    welch_test,
    wilson_interval,
)

RANDOM = random.Random(0)


def draw_size() -> int:
    """Return a count from 1 to 100,000, as often small as large."""
    return int(10 ** RANDOM.uniform(0, 5))


def draw_values(count: int) -> list[float]:
    centre, spread = RANDOM.uniform(0, 1), 10 ** RANDOM.uniform(-4, 0)
    return [RANDOM.gauss(centre, spread) for _ in range(count)]


def test_wilson_interval():
    for _ in range(300):
        total = draw_size()
        correct, confidence = RANDOM.randint(0, total), RANDOM.uniform(0.5, 0.999)
        expected = scipy.stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
        assert wilson_interval(correct, total, confidence) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("total", [1, 7, 10_000])
def test_the_interval_of_none_and_of_all_ends_where_the_range_ends(total):
    assert wilson_interval(0, total)[0] == 0
    assert wilson_interval(total, total)[1] == 1
    assert wilson_interval(0, total)[1] == pytest.approx(1 - wilson_interval(total, total)[0])
    assert 0 < wilson_interval(0, total)[1] < 1


def test_mcnemar_is_the_exact_binomial_test():
    cases = [(0, 0), (0, 1), (1, 0), (5, 5), (5, 6), (0, 12), (412, 355), (20_000, 19_000), (0, 5000)]
    cases += [(int(RANDOM.uniform(0, size := draw_size())), int(RANDOM.uniform(0, size))) for _ in range(300)]
    for gained, lost in cases:
        expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1
        assert mcnemar_p(gained, lost) == pytest.approx(expected, rel=1e-8, abs=1e-300), (gained, lost)
        assert mcnemar_p(gained, lost) == mcnemar_p(lost, gained) <= 1


def test_mcnemar_of_small_counts_is_the_sum_of_fractions():
    for total in range(1, 40):
        for lost in range(total + 1):
            tail = sum(math.comb(total, k) for k in range(min(lost, total - lost) + 1))
            assert mcnemar_p(total - lost, lost) == pytest.approx(min(1, 2 * tail / 2**total), rel=1e-12)


def test_welch_test():
    for _ in range(300):
        first, second = draw_values(RANDOM.randint(2, 30)), draw_values(RANDOM.randint(2, 30))
        confidence = RANDOM.uniform(0.5, 0.999)
        expected = scipy.stats.ttest_ind(first, second, equal_var=False)
        interval = expected.confidence_interval(confidence)
        found = welch_test(first, second, confidence)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
        assert found.degrees == pytest.approx(expected.df, rel=1e-9)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-8, abs=1e-12)
        assert found.difference == pytest.approx(sum(first) / len(first) - sum(second) / len(second), abs=1e-12)


def test_values_that_do_not_vary_have_a_difference_and_no_p():
    found = welch_test([0.5, 0.5], [0.25, 0.25, 0.25])
    assert (found.difference, found.low, found.high, found.p, found.degrees) == (0.25, 0.25, 0.25, None, None)
    one = welch_test([0.5, 0.5, 0.5], [0.25, 0.26])
    assert one.p is not None and one.degrees == pytest.approx(1)


def test_a_spread_needs_two_values():
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_interval([0.5]) is None
    with pytest.raises(ValueError, match="two values"):
        welch_test([0.5], [0.4, 0.6])


def test_mean_interval():
    for _ in range(100):
        values = draw_values(RANDOM.randint(2, 30))
        mean, deviation = mean_and_deviation(values)
        assert deviation == pytest.approx(float(scipy.stats.tstd(values)), rel=1e-9)
        expected = scipy.stats.t.interval(0.95, len(values) - 1, loc=mean, scale=scipy.stats.sem(values))
        assert mean_interval(values) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5)


def test_student_distribution():
    for _ in range(300):
        degrees, t = 10 ** RANDOM.uniform(0, 5), RANDOM.choice([-1, 1]) * 10 ** RANDOM.uniform(-6, 2)
        assert student_p(t, degrees) == pytest.approx(2 * scipy.stats.t.sf(abs(t), degrees), rel=1e-8, abs=1e-300)
        probability = RANDOM.uniform(0.0005, 0.9995)
        expected = scipy.stats.t.ppf(probability, degrees)
        assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_incomplete_beta():
    for _ in range(300):
        a, b, x = 10 ** RANDOM.uniform(-1, 4), 10 ** RANDOM.uniform(-1, 4), RANDOM.random()
        expected = float(scipy.special.betainc(a, b, x))
        assert incomplete_beta(a, b, x) == pytest.approx(expected, rel=1e-8, abs=1e-13)
    assert (incomplete_beta(2, 3, 0), incomplete_beta(2, 3, 1)) == (0, 1)


def test_several_p_values_are_adjusted_after_holm():
    assert holm_adjust([]) == []
    assert holm_adjust([0.03]) == [0.03]
    assert holm_adjust([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm_adjust([0.9, 0.5]) == [1, 1]
    for _ in range(100):
        values = [RANDOM.random() ** 3 for _ in range(RANDOM.randint(1, 12))]
        # The definition: reject in order while p <= level / (tests left). So each is rejected from its own level on.
        for level in (0.01, 0.05, 0.2):
            rejected = set()
            for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
                if values[index] > level / (len(values) - rank):
                    break
                rejected.add(index)
            assert {index for index, p in enumerate(holm_adjust(values)) if p <= level} == rejected
