# Refused by: inputs
# It keeps the logits themselves, which may be a buffer that the next step writes into.
import torch

import zoo


@zoo.metric(name="top-two")
class TopTwo:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.logits, self.targets = [], []

    def update(self, logits, targets):
        self.logits.append(logits)
        self.targets.append(targets)

    def compute(self):
        best = torch.cat(self.logits).topk(2).indices
        return (best == torch.cat(self.targets).unsqueeze(1)).any(1).float().mean().item()
