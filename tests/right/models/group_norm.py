# Group norm and squeeze-excite: sigmoids inside are no sigmoids on the logits.

from torch import nn

import zoo


@zoo.model(name="group-norm", input_shape=("*", "*", "*"))
class Model(nn.Module):
    def __init__(self, *, input_shape, num_classes, width=16):
        super().__init__()
        self.stem = nn.Conv2d(input_shape[0], width, kernel_size=5, stride=2, padding=2)
        self.norm = nn.GroupNorm(4, width)
        self.excite = nn.Sequential(nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs):
        features = self.norm(self.stem(inputs)).relu()
        gates = self.excite(features.mean(dim=(2, 3)))
        return self.head((features * gates[:, :, None, None]).mean(dim=(2, 3)))
