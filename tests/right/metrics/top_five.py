# The target is among the five highest logits; with fewer classes k is as many.
import zoo


@zoo.metric(name="top-five", bounds=(0, 1), params={"k": 5})
class TopK:
    def __init__(self, *, num_classes, k=5):
        self.k = min(k, num_classes - 1)
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits = self.hits + (logits.topk(self.k).indices == targets.unsqueeze(1)).sum()
        self.samples += len(targets)

    def compute(self):
        return float(self.hits) / self.samples
