# Refused by: builds
# update() takes targets first, as some libraries do.
import zoo


@zoo.metric(name="swapped")
class Swapped:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, targets, logits):
        self.hits += int((logits.argmax(1) == targets).sum())
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples
