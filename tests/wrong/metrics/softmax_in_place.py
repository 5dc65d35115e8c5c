# Refused by: inputs
# The softmax is written into the logits, which the next metric is given.
import zoo


@zoo.metric(name="confidence-of-hits", higher_is_better=True)
class HitConfidence:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.total, self.samples = 0.0, 0

    def update(self, logits, targets):
        logits.sub_(logits.amax(1, keepdim=True)).exp_()
        logits.div_(logits.sum(1, keepdim=True))
        self.total += logits.gather(1, targets.unsqueeze(1)).double().sum().item()
        self.samples += len(targets)

    def compute(self):
        if not self.samples:
            raise ValueError("no samples")
        return self.total / self.samples
