"""Augmentation as data: operations on images whose every number is a function of seed, epoch, sample and operation.

`zoo.augment` is this package. The hash is in `draws`, the operations are in `operations`, `mixing` and `transforms`,
and `pipeline` reads and applies them in order.
"""

from zoo.data.augment.draws import draw as draw
from zoo.data.augment.draws import to_below as to_below
from zoo.data.augment.draws import to_uniform as to_uniform
from zoo.data.augment.mixing import CutMix as CutMix
from zoo.data.augment.mixing import Mixed as Mixed
from zoo.data.augment.mixing import Mixup as Mixup
from zoo.data.augment.operations import Crop as Crop
from zoo.data.augment.operations import Erase as Erase
from zoo.data.augment.operations import Flip as Flip
from zoo.data.augment.operations import Operation as Operation
from zoo.data.augment.pipeline import Augment as Augment
from zoo.data.augment.pipeline import parse as parse
from zoo.data.augment.transforms import Transform as Transform
