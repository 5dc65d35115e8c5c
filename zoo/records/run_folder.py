"""The folder of a run: what its files are called, and the words for what became of it."""

from __future__ import annotations

RECORD_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
LAST_FILE = "last.safetensors"
"""The weights of the last epoch, where those of the best one are in WEIGHTS_FILE."""
PREDICTIONS_FILE = "predictions.safetensors"
CHECKPOINTS, CHECKPOINT_PATTERN = "checkpoints", "step-*"
"""The folder of what a run goes on from, and what is in it."""
LOCK_FILE = ".lock"
"""Held while a run is resumed, so that no second process trains it; its record says so only later."""

RUNNING, FINISHED, FAILED, DIVERGED, INTERRUPTED = "running", "finished", "failed", "diverged", "interrupted"
PRUNED = "pruned"
"""What a record says of its run."""
KILLED, UNKNOWN, DAMAGED = "killed", "unknown", "damaged"
"""What a reader finds: the process of a run is gone, nothing can be told of it, or its record cannot be read."""
ENDED = (INTERRUPTED, FAILED, DIVERGED, PRUNED, KILLED)
"""What became of runs that came to no end of their own."""
STATUSES = (RUNNING, FINISHED, INTERRUPTED, FAILED, DIVERGED, PRUNED, KILLED, UNKNOWN, DAMAGED)

HEARTBEAT, SILENCE = 60.0, 600.0
"""Seconds after which a run touches its record again, and after which nothing is known of one that did not."""
