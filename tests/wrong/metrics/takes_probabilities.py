# Refused by: builds
# It was written for probabilities, and takes the logarithm of logits.
import zoo


@zoo.metric(name="log-loss", higher_is_better=False)
class LogLoss:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.total, self.samples = 0.0, 0

    def update(self, probabilities, targets):
        self.total -= probabilities.gather(1, targets.unsqueeze(1)).log().double().sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.total / self.samples if self.samples else float("nan")
