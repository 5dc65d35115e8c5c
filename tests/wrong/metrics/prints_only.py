# Refused by: builds
# compute() prints the value and returns nothing.
import zoo


@zoo.metric(name="prints")
class Prints:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        print(f"accuracy {self.hits / max(1, self.samples):.3f}")
