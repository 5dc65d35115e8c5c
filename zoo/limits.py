"""Limits: what a file may ask for, whoever wrote it, before anything is allocated for it.

docs/reference/limits.md lists them all, each with a command that meets it. Most are far above what anybody needs and
far below what would take a machine: with the largest file of each kind, a command stays below 2 GB beside what torch
itself takes. Messages have limits of their own in `zoo.errors`.
"""

from __future__ import annotations

MAX_PIXELS = 50_000_000
"""Pixels of an image file: a camera's largest pictures. Decoded, four channels of 16 bits, they take 400 MB."""
MAX_IMAGE_BYTES = 8 * MAX_PIXELS
"""Bytes of an image file: those of the largest image when it is not compressed."""

MAX_IMAGE_VALUES = 2**25
"""Values of one raw image and of one input of a model: 3 x 3344 x 3344. As float32 they take 134 MB, and predicting has
several copies of them at once."""
MAX_RESIZE_VALUES = 2**26
"""Values of what one image becomes on its way to an input. Torch resizes the width first: a tall image that becomes
wide is larger between the two than before and after. The largest photograph and the largest image need 61 million."""
MAX_SIDE = 2**20
"""Pixels of a side of an image that is resized: torch keeps up to fifty bytes for each of them."""
BATCH_VALUES = 2**25
"""Values that a batch may have on its way to the inputs where nobody asked for its size: it is cut by them, not only by
the number of its samples."""

MAX_HEADER = 16_000_000
"""Bytes of the header of a weights file; parsed, they take about twenty times that."""
MAX_METADATA = 1_000_000
"""Bytes of zoo's own JSON in that header."""
MAX_TENSORS, MAX_TENSOR_NAME, MAX_AXES = 100_000, 1_000, 64
"""Tensors of a weights file, characters of a tensor's name, and axes of a shape, which is the most that torch has."""
MAX_PICKLE = 64_000_000
"""Bytes of the pickle in a file of torch, beside its tensors: the names of a million tensors. Reading it takes about
thirty times that."""
MAX_CLASSES = 100_000
"""Classes of a weights file. ImageNet-21k has 21,841; a batch of 1024 rows of probabilities takes 400 MB."""
MAX_GOLDEN = 256 * 1024
"""Bytes of the golden samples, as JSON."""
MAX_GOLDEN_VALUES = 8 * MAX_IMAGE_VALUES
"""Values of all golden samples at their full size: eight of the largest images. They are few bytes in the file, where
only every n-th pixel is kept."""
MAX_CONFUSED = 5_000
"""Classes of a confusion matrix. It has their square of counts, and what is made of it takes a few times its 200 MB."""
MODEL_FACTOR, MODEL_SPARE = 4, 512 * 1024 * 1024
"""Bytes that a model may ask for while it is rebuilt from a file: this many times the tensors of the file, and spare
ones for what it computes and does not keep. What it keeps has to be in the file, or the file does not fit."""

MAX_PATHS = 12_000_000
"""Bytes of the names of the images in an embeddings file, as JSON: with the rest of its header they stay below
MAX_HEADER."""

MAX_INT = 2**63 - 1
"""The largest whole number in params, as a file has them or a user gives them: what 64 bits with a sign hold, and so
the largest that torch, numpy and other readers of a file can take."""

MAX_RECORD = 64_000_000
"""Bytes of the `run.json` of a run: 170,000 epochs of two metrics."""
MAX_PREDICTIONS = 256_000_000
"""Bytes of a run's predictions: 16 million samples of up to 16 bytes."""
MAX_MANIFEST = 4_000_000
"""Bytes of a manifest: a catalogue of 10,000 entries."""
MAX_SHARDS = 64_000_000
"""Bytes of the manifest of a folder of shards: 400,000 shards, 100 TB of those of 256 MB."""
MAX_CONFIG = 1_000_000
"""Bytes of a config file: far more than anybody writes by hand."""
MAX_PICTURE_INDEX = 256_000_000
"""Bytes of what zoo keeps in ZOO_HOME of the pictures of a folder beside the pixels: two million files."""
MAX_KEPT = 64_000_000
"""Bytes of what zoo keeps for itself in ZOO_HOME: the index or the certificate of one plugin."""
MAX_INDEX = 512_000_000
"""Bytes of the index of a folder of runs, which is zoo's own: 300,000 runs."""
