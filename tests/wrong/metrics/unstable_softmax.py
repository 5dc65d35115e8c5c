# Refused by: extremes
# exp() of a large logit is inf, and inf / inf is nan: a model that is sure of itself has no loss any more.
import zoo


@zoo.metric(name="by-hand", higher_is_better=False)
class ByHand:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.total, self.samples = 0.0, 0

    def update(self, logits, targets):
        chances = logits.exp() / logits.exp().sum(1, keepdim=True)
        chosen = chances.gather(1, targets.unsqueeze(1)).clamp(min=1e-12)
        self.total -= chosen.log().double().sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.total / self.samples if self.samples else float("nan")
