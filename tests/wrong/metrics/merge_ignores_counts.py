# Refused by: merge
# merge() takes the mean of two accuracies, however many samples each of them has seen.
import zoo


@zoo.metric(name="merged-mean")
class MergedMean:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.accuracy, self.samples = 0.0, 0

    def update(self, logits, targets):
        hits = self.accuracy * self.samples + int((logits.argmax(1) == targets).sum())
        self.samples += len(targets)
        self.accuracy = hits / self.samples if self.samples else 0.0

    def compute(self):
        return self.accuracy

    def merge(self, other):
        self.accuracy = (self.accuracy + other.accuracy) / 2
        self.samples += other.samples
