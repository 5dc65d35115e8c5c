# The area under the curve of the first class needs all samples: scores and targets are kept in lists of tensors.
import torch

import zoo


@zoo.metric(name="area", bounds=(0, 1))
class Area:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.scores, self.targets = [], []

    def update(self, logits, targets):
        self.scores.append(logits.double().log_softmax(1)[:, 0])
        self.targets.append(targets)
        return self

    def compute(self):
        scores, positive = torch.cat(self.scores), torch.cat(self.targets) == 0
        _, places, counts = scores.unique(return_inverse=True, return_counts=True)
        ranks = (counts.cumsum(0) - (counts - 1) / 2)[places]
        number, rest = int(positive.sum()), int((~positive).sum())
        if not number or not rest:
            return 0.5
        return float((ranks[positive].sum() - number * (number + 1) / 2) / (number * rest))
