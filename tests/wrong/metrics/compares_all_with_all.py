# Refused by: batches
# Predictions (N, 1) are compared with targets (N,): that is each with each, N x N of them.
import zoo


@zoo.metric(name="each-with-each")
class EachWithEach:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.pairs = 0, 0

    def update(self, logits, targets):
        equal = logits.argmax(1, keepdim=True) == targets
        self.hits += equal.sum().item()
        self.pairs += equal.numel()

    def compute(self):
        return self.hits / self.pairs
