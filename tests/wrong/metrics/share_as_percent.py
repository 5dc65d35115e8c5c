# Refused by: bounds
# The other way round: percent are declared, and a share is given, so that every model looks hopeless.
import zoo


@zoo.metric(name="share", bounds=(0, 100))
class Share:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += int((logits.argmax(dim=1) == targets).sum())
        self.samples += len(targets)

    def compute(self):
        if not self.samples:
            raise ValueError("no samples")
        return self.hits / self.samples
