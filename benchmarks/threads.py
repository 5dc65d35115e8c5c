"""Where more CPU threads pay: training steps of tiny to medium models, and what zoo/models/device.py chooses.

Beside a busy process a thread that waits may spin for as long as the scheduler gives the core to the other one:
benchmarks/waiting.py.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import geometric_mean, median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser, neighbours
from torch import nn

from zoo.data.batch import lay_last
from zoo.models.device import CONVOLVED_FLOP, THREAD_FLOP, choose_threads
from zoo.models.flop import count_work
from zoo.models.layout import choose_format, lay_model
from zoo.registry.settings import TrainConfig
from zoo.training.optimizers import build_optimizer
from zoo.training.step import TrainStep
from zoo_plugins.models.baseline import Baseline
from zoo_plugins.models.tinyvgg import TinyVGG

LIMIT = 1.25
SHAPE, CPU = (1, 28, 28), torch.device("cpu")
MODELS = {"baseline": Baseline, "tinyvgg": TinyVGG}
CASES = [("baseline", width, batch) for width in (10, 1000) for batch in (32, 256, 2048)]
CASES += [("tinyvgg", width, batch) for width in (4, 10, 32) for batch in (4, 16, 32, 128)]


def time_steps(step: TrainStep, inputs: torch.Tensor, targets: torch.Tensor, seconds: float, threads: int) -> float:
    """Return the time of one step with this many threads."""
    torch.set_num_threads(threads)
    step(inputs, targets)
    steps, started = 0, perf_counter()
    while perf_counter() - started < seconds:
        step(inputs, targets)
        steps += 1
    return (perf_counter() - started) / max(1, steps)


def main() -> int:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--seconds", type=float, default=0.15, help="of steps per case, thread count and round")
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many cases, the first ones")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1], help="numbers of busy processes beside")
    options = parser.parse_args()
    most = torch.get_num_threads()
    if most == 1:
        sys.exit("there is one core, or OMP_NUM_THREADS is 1: nothing to compare")
    losses: dict[int, list[float]] = {count: [] for count in options.neighbours}
    heads = (f"+{count} busy: 1 thread  {most} threads  ratio" for count in options.neighbours)
    print("model     width batch  FLOP/batch", *heads, sep="   ")
    for name, width, batch in CASES[: options.cases]:
        model: nn.Module = MODELS[name](input_shape=SHAPE, num_classes=10, hidden_units=width)
        work = count_work(model, SHAPE, CPU)
        layout = choose_format("auto", model, SHAPE, work, CPU, trains=True)
        lay_model(model, layout)
        step = TrainStep(model, nn.functional.cross_entropy, build_optimizer(model, TrainConfig(lr=1e-6)))
        inputs, targets = torch.rand(batch, *SHAPE), torch.randint(10, (batch,))
        inputs = lay_last(inputs) if layout == "channels_last" else inputs
        contenders = {
            str(threads): partial(time_steps, step, inputs, targets, options.seconds, threads) for threads in (1, most)
        }
        chosen = choose_threads(work, batch)
        line = f"{name:<8} {width:6} {batch:5}    {work.flop * batch:8.1e}"
        for count in options.neighbours:
            with neighbours(count):
                times = alternate(options.rounds, contenders)
            one, many = median(times["1"]), median(times[str(most)])
            ratio = find_ratio(times, str(most), "1")
            losses[count].append((ratio if chosen > 1 else 1) / min(1, ratio))
            line += f"   {one * 1e3:12.2f} ms  {many * 1e3:6.2f} ms  {ratio:5.2f}"
        print(line)
    rule = f"{THREAD_FLOP:.0e} FLOP, convolutional models from {CONVOLVED_FLOP:.0e}"
    print(f"\nThe rule (more than one thread from {rule}) / the better choice:")
    # Beside busy processes the better choice is a matter of luck: shown, not held against the rule.
    kept = [
        check_ratio(f"mean, {count} busy (worst {max(values):.2f})", geometric_mean(values), LIMIT) or count > 0
        for count, values in losses.items()
    ]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
