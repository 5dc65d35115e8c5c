# Refused by: loads
# The class was written, and the decorator forgotten: the file provides nothing.
class Accuracy:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples
