"""Agreement of predictions and targets, where classes of different sizes, or chance, do not flatter it."""

from __future__ import annotations

from math import fsum, sqrt

from zoo_plugins.metrics.counts import ClassCounts, CountMetric


class BalancedAccuracy(CountMetric):
    """The mean recall of the classes that have samples: chance is 1 / classes, however many samples each one has.

    A class without samples has no recall and is left out, also where it is predicted.
    """

    def score(self, counts: ClassCounts) -> float:
        """Return the mean, from 0 to 1."""
        recalls = [hits / there for hits, there in zip(counts.hits, counts.support, strict=True) if there]
        return fsum(recalls) / len(recalls)


class CohenKappa(CountMetric):
    """Cohen's kappa, `(a - c) / (1 - c)`: the accuracy `a` above what chance gives, `c`, as a share of what is left.

    Chance predicts each class as often as it is predicted here, and knows no target. It is all right where one class
    is the only one predicted and the only one there: that 0 / 0 is 0, no better than chance. scikit-learn gives nan for
    it, which is no number to compare runs by.
    """

    def score(self, counts: ClassCounts) -> float:
        """Return kappa, from -1 to 1; 0 is chance."""
        right, chance, pairs = _count_pairs(counts)
        return (right - chance) / (pairs - chance) if pairs != chance else 0.0


class Matthews(CountMetric):
    """Matthews' correlation coefficient for many classes: the correlation of predictions and targets.

    It is 0 where all predictions, or all targets, are of one class: that 0 / 0 is 0, as scikit-learn has it.
    """

    def score(self, counts: ClassCounts) -> float:
        """Return the coefficient, from -1 to 1; 0 is chance."""
        right, chance, pairs = _count_pairs(counts)
        spread_predicted = pairs - sum(count**2 for count in counts.predicted)
        spread_support = pairs - sum(count**2 for count in counts.support)
        if not spread_predicted or not spread_support:
            return 0.0
        return (right - chance) / sqrt(spread_predicted * spread_support)


def _count_pairs(counts: ClassCounts) -> tuple[int, int, int]:
    """Return how many pairs of samples there are, at last, and in how many of them what is asked for agrees.

    First with the target and the prediction of the same sample, each taken as often as there are samples; then with the
    target of the one and the prediction of the other, as chance has it. Whole numbers of Python have no limit.
    """
    samples = counts.samples
    chance = sum(predicted * there for predicted, there in zip(counts.predicted, counts.support, strict=True))
    return samples * counts.right, chance, samples**2
