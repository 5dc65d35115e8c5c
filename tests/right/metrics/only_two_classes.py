# The F1 score of the second class of two, refused for more of them.
import zoo


@zoo.metric(name="binary-f1", bounds=(0, 1))
class BinaryF1:
    def __init__(self, *, num_classes):
        if num_classes != 2:
            raise ValueError(f"expected 2 classes, got {num_classes}")
        self.reset()

    def reset(self):
        self.hits, self.marked = 0, 0

    def update(self, logits, targets):
        chosen = logits.argmax(1)
        self.hits += 2 * int((chosen * targets).sum())
        self.marked += int(chosen.sum() + targets.sum())

    def compute(self):
        return self.hits / self.marked if self.marked else 0.0
