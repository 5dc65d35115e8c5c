# Refused by: merge
# merge() moves the other's samples away from it.
import zoo


@zoo.metric(name="moving-over")
class MovingOver:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits = []

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).tolist()

    def compute(self):
        return sum(self.hits) / len(self.hits) if self.hits else float("nan")

    def merge(self, other):
        while other.hits:
            self.hits.append(other.hits.pop())
