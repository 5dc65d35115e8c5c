# Refused by: empty
# What compute() needs is made by the first update() only: without one there is an AttributeError.
import zoo


@zoo.metric(name="late")
class Late:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.pair = None

    def update(self, logits, targets):
        hits, samples = self.pair or (0, 0)
        self.pair = (hits + int((logits.argmax(1) == targets).sum()), samples + len(targets))

    def compute(self):
        return self.pair[0] / self.pair[1]
