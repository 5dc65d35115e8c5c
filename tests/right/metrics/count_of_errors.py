# How many predictions are wrong: no mean at all.
import zoo


@zoo.metric(name="wrong", higher_is_better=False)
class Wrong:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.wrong = 0

    def update(self, logits, targets):
        self.wrong += (logits.argmax(1) != targets).sum().item()

    def compute(self):
        return self.wrong
