# Refused by: batches
# update() assigns where it should add: the value is that of the last batch.
import zoo


@zoo.metric(name="last-batch")
class LastBatch:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits = int((logits.argmax(1) == targets).sum())
        self.samples = len(targets)

    def compute(self):
        if self.samples == 0:
            raise ValueError("no samples")
        return self.hits / self.samples
