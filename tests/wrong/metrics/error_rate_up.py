# Refused by: direction
# An error rate, declared as if more errors were better: @best would be the worst run.
import zoo


@zoo.metric(name="errors", bounds=(0, 1))
class Errors:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.wrong, self.samples = 0, 0

    def update(self, logits, targets):
        self.wrong += (logits.argmax(1) != targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.wrong / self.samples if self.samples else float("nan")
