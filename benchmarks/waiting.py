"""How long a thread that waits should look before it gives up its core: steps of tinyvgg on all threads.

Each count of looks (GOMP_SPINCOUNT) is tried in a process of its own, beside 0, 1 and 2 processes that are always busy.
300,000 is what the OpenMP library of torch's Linux builds does by itself. Beside busy processes the times differ from
round to round, by what the system gives which core to: the worst round is shown too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from measure import alternate, check_ratio, find_ratio, make_parser, neighbours

from zoo.cli.torch_import import SPINS, prepare_for_torch

LIMIT, BUSY_LIMIT = 1.1, 0.5
ITSELF = 300_000
MOST = 4.0
"""Seconds of a round: beside busy processes a step may take half a second."""


def time_steps(steps: int) -> float:
    """Return the seconds of a training step of tinyvgg, as `zoo run` makes it."""
    from time import perf_counter

    import torch

    from zoo.data.batch import lay_last
    from zoo.models.layout import lay_model
    from zoo.registry.settings import TrainConfig
    from zoo.training.optimizers import build_optimizer
    from zoo.training.step import TrainStep
    from zoo_plugins.models.tinyvgg import TinyVGG

    model = TinyVGG(input_shape=(1, 28, 28), num_classes=10)
    lay_model(model, "channels_last")
    step = TrainStep(model, torch.nn.functional.cross_entropy, build_optimizer(model, TrainConfig(lr=1e-6)))
    inputs, targets = lay_last(torch.rand(32, 1, 28, 28)), torch.randint(10, (32,))
    for _ in range(3):
        step(inputs, targets)
    done, started = 0, perf_counter()
    while done < steps and perf_counter() - started < MOST:
        step(inputs, targets)
        done += 1
    return (perf_counter() - started) / done


def time_process(looks: int, steps: int) -> float:
    """Return the seconds of a step in a new process whose waiting threads look so many times."""
    command = [sys.executable, str(Path(__file__)), "--child", "--steps", str(steps)]
    environment = {**os.environ, "GOMP_SPINCOUNT": str(looks)}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--steps", type=int, default=300, help="of each process")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2], help="numbers of busy processes beside")
    parser.add_argument("--looks", type=int, nargs="+", default=[1_000, 4_000, 40_000], help="to try, too")
    parser.add_argument("--child", action="store_true", help="only make the steps, and print the seconds of one")
    options = parser.parse_args()
    if options.child:
        prepare_for_torch()
        print(time_steps(options.steps))
        return 0
    kept, tried = [], sorted({*options.looks, SPINS, ITSELF})
    contenders = {str(looks): partial(time_process, looks, options.steps) for looks in tried}
    print("busy beside    looks    a step   the worst")
    for busy in options.neighbours:
        with neighbours(busy):
            times = alternate(options.rounds, contenders)
        for looks, seconds in times.items():
            print(f"{busy:11} {looks:>8} {median(seconds) * 1e3:6.1f} ms {max(seconds) * 1e3:8.1f} ms", flush=True)
        if busy == 0:
            kept.append(
                check_ratio("alone, as zoo run / as by itself", find_ratio(times, str(SPINS), str(ITSELF)), LIMIT)
            )
        if busy == 2:  # beside one, it is a matter of luck which core the busy process has
            ratio = max(times[str(SPINS)]) / max(times[str(ITSELF)])
            kept.append(check_ratio("beside two, worst / worst as by itself", ratio, BUSY_LIMIT))
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
