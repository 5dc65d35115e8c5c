"""Mutants: 54 faults that the suite must notice, over the whole core.

    python tests/mutants.py            # all of them, in some minutes
    python tests/mutants.py 3 17       # some of them, by their number

Each is a change of one text in a scratch copy of the tree; the test named with it must fail there. "lived" means that
the test passes all the same: a fault of that kind would go unnoticed. `test_mutants.py` holds that each text is still
there, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = (
    "zoo",
    "plugins",
    "tests",
    "docs",
    "benchmarks",
    "registry.toml",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
"""What the copy holds."""


@dataclass(frozen=True)
class Mutant:
    """`fault` in words: `text` of `file`, which is there once, becomes `instead`; `test` must fail then."""

    fault: str
    file: str
    text: str
    instead: str
    test: str


MUTANTS = (
    Mutant(
        "no update of the parameters",
        "zoo/training/step.py",
        "        if self.rates is None:\n            self.optimizer.step()\n",
        "        if self.rates is None:\n            pass\n",
        "tests/training/test_trainer.py::test_training_is_the_loop_one_writes_by_hand",
    ),
    Mutant(
        "gradients of all steps add up",
        "zoo/training/step.py",
        "            parameter.grad = None\n",
        "            pass\n",
        "tests/training/test_trainer.py::test_training_is_the_loop_one_writes_by_hand",
    ),
    Mutant(
        "evaluation in training mode",
        "zoo/training/trainer.py",
        "    model.eval()\n    reset_metrics(metrics)\n",
        "    reset_metrics(metrics)\n",
        "tests/training/test_trainer.py::test_train_mode_in_training_and_eval_mode_in_evaluation",
    ),
    Mutant(
        "metrics go on from epoch to epoch",
        "zoo/training/trainer.py",
        "    model.eval()\n    reset_metrics(metrics)\n",
        "    model.eval()\n",
        "tests/training/test_trainer.py::test_metrics_start_anew_each_time",
    ),
    Mutant(
        "the test loss is a mean of sums",
        "zoo/training/trainer.py",
        "float(total) / batches.samples",
        "float(total) / len(batches)",
        "tests/training/test_trainer.py::test_evaluation_depends_neither_on_batch_size_nor_on_order",
    ),
    Mutant(
        "small batches count as much as large ones in the training loss",
        "zoo/training/losses.py",
        "        self.total += value * samples\n",
        "        self.total += value * self.samples / self.steps if self.steps > 1 else value * samples\n",
        "tests/training/test_trainer.py::test_training_is_the_loop_one_writes_by_hand",
    ),
    Mutant(
        "a loss that is not finite goes on",
        "zoo/training/losses.py",
        "        self.steps += 1\n        if not isfinite(value):\n",
        "        self.steps += 1\n        if value == float('inf'):\n",
        "tests/training/test_trainer.py::test_a_loss_that_is_not_finite_stops_at_its_step",
    ),
    Mutant(
        "each epoch has the order of the first",
        "zoo/data/batches.py",
        "epoch, self.classes).to(self.images.device)",
        "0, self.classes).to(self.images.device)",
        "tests/data/test_batches.py::test_batches_from_memory_are_those_of_the_course",
    ),
    Mutant(
        "an error of memory is blamed on a metric",
        "zoo/training/metrics.py",
        "if is_out_of_memory(error):",
        "if False:",
        "tests/training/test_trainer.py::test_what_is_not_the_metrics_fault_passes_unchanged",
    ),
    Mutant(
        "a full terminal ends a training",
        "zoo/training/progress.py",
        "        with suppress(OSError, ValueError):\n            self.stream.write(text)\n",
        "        self.stream.write(text)\n",
        "tests/training/test_progress.py::test_a_full_terminal_stops_nothing",
    ),
    Mutant(
        "a run that was stopped is recorded as failed",
        "zoo/training/recording.py",
        '{KeyboardInterrupt: "interrupted", DivergedError: "diverged"',
        '{DivergedError: "diverged"',
        "tests/training/test_recording.py::test_what_ends_an_epoch_keeps_the_one_before",
    ),
    Mutant(
        "tied tensors come apart when they are loaded",
        "zoo/models/weights.py",
        "assign=len(set(places)) == len(places)",
        "assign=True",
        "tests/models/test_weights.py::test_tied_tensors_stay_tied",
    ),
    Mutant(
        "buffers that no file keeps stay empty",
        "zoo/models/rebuilding.py",
        "if isinstance(filled, nn.Parameter):",
        "if filled is not None:",
        "tests/models/test_weights.py::test_buffers_that_no_file_keeps_are_filled",
    ),
    Mutant(
        "digests do not reach the disk before the rename",
        "zoo/models/weights.py",
        "os.fsync(file.fileno())",
        "pass",
        "tests/models/test_weights.py::test_what_takes_the_place_of_a_file_is_on_the_disk",
    ),
    Mutant(
        "golden samples prove little",
        "zoo/models/golden.py",
        "TOLERANCE = 1e-4",
        "TOLERANCE = 0.05",
        "tests/models/test_predictor.py::test_a_golden_probability_may_be_off_by_a_ten_thousandth",
    ),
    Mutant(
        "inputs that are scaled twice are not noticed",
        "zoo/models/drift.py",
        "FLAT = 16\n",
        "FLAT = 1e12\n",
        "tests/models/test_drift.py",
    ),
    Mutant(
        "the lower end of a value range is ignored",
        "zoo/models/inputs.py",
        "unit = (raw.to(torch.float32) - low) / (high - low)",
        "unit = raw.to(torch.float32) / high",
        "tests/models/test_predictor.py::test_every_form_of_an_image_gives_the_same",
    ),
    Mutant(
        "JSON of any size is parsed",
        "zoo/records/header.py",
        "if raw.count(b'\"') > bounds.quotes:",
        "if False:",
        "tests/records/test_header.py::test_a_header_is_counted_before_it_is_parsed",
    ),
    Mutant(
        "half a file takes the place of a whole one",
        "zoo/storage/files.py",
        "rest = rest[os.write(file, rest) :]",
        "rest = rest[: 0 * os.write(file, rest)]",
        "tests/storage/test_files.py::test_a_system_that_writes_a_part_is_asked_again",
    ),
    Mutant(
        "a download may hold anything of the right size",
        "zoo/registry/transfers.py",
        "if (got := part.hash(file.algorithm)) != file.digest:",
        "if (got := part.hash(file.algorithm)) == file.path:",
        "tests/registry/test_downloads.py::test_refuses",
    ),
    Mutant(
        "the part that a living process writes is taken over",
        "zoo/registry/parts.py",
        "if found.key != self.key or found.is_busy:",
        "if found.key != self.key:",
        "tests/registry/test_ranges.py::test_a_part_that_a_process_writes_is_left_alone",
    ),
    Mutant(
        "what came in pieces that do not fit together is given up",
        "zoo/registry/downloads.py",
        "if error.apart and ranges:",
        "if error.apart and not ranges:",
        "tests/registry/test_ranges.py::test_a_download_that_broke_off",
    ),
    Mutant(
        "the files of a data set are removed through a link",
        "zoo/registry/removal.py",
        "if Path(os.path.realpath(place.parent)) != place.parent:",
        "if not place.parent.exists():",
        "tests/cli/test_data_command.py::test_remove_stays_in_the_data_folder",
    ),
    Mutant(
        "a damaged index is believed",
        "zoo/registry/index.py",
        "    if digest(text) != checksum:\n",
        "    if not checksum:\n",
        "tests/registry/test_index.py::test_a_damaged_cache_is_made_anew",
    ),
    Mutant(
        "Ctrl-C in a hook is the plugin's fault",
        "zoo/registry/plugins.py",
        """        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self.broken""",
        """        try:
            yield
        except BaseException as error:
            raise self.broken""",
        "tests/registry/test_interrupts.py",
    ),
    Mutant(
        "what a user asks for yields to what the spec recommends",
        "zoo/registry/params.py",
        "{**spec.params, **given}",
        "{**given, **spec.params}",
        "tests/registry/test_params.py::test_given_wins_over_declared_over_the_signature",
    ),
    Mutant(
        "a seed that torch does not take is taken",
        "zoo/registry/settings.py",
        'of the data order.", ge=0, lt=2**63)',
        'of the data order.", ge=-1, lt=2**64)',
        "tests/registry/test_settings.py::test_what_is_out_of_range_is_refused",
    ),
    Mutant(
        "several tests are judged as if each were the only one",
        "zoo/results/significance.py",
        "(len(values) - rank) * values[index]",
        "values[index]",
        "tests/results/test_significance.py::test_several_p_values_are_adjusted_after_holm",
    ),
    Mutant(
        "results on other samples are compared",
        "zoo/results/comparison.py",
        "if _have_same_samples(group[0], result)), None)",
        "), None)",
        "tests/results/test_comparison.py::test_results_on_other_samples_are_not_compared",
    ),
    Mutant(
        "every epoch augments alike",
        "zoo/data/augment/draws.py",
        "epoch & WORD, epoch >> 32, *operation.encode()",
        "0, 0, *operation.encode()",
        "tests/data/test_draws.py::test_numbers_are_those_of_plain_python",
    ),
    Mutant(
        "an image is augmented by its place in the batch",
        "zoo/data/batches.py",
        "return augment(raw, indices, epoch, self.seed)",
        "return augment(raw, range(len(raw)), epoch, self.seed)",
        "tests/data/test_augment.py::test_batches_are_those_of_a_loop_by_hand",
    ),
    Mutant(
        "the weights of CutMix are not those of the box that was cut off",
        "zoo/data/augment/mixing.py",
        "            area = area * (end - start)\n",
        "            area = area * length\n",
        "tests/data/test_mixing.py::test_cutmix_weights_are_the_true_areas",
    ),
    Mutant(
        "a resumed training draws other numbers",
        "zoo/training/state.py",
        '    set_generators(state["generators"])\n',
        "    pass\n",
        "tests/training/test_trainer_state.py::test_a_training_goes_on_with_the_same_bits",
    ),
    Mutant(
        "an evaluation that begins again draws other numbers",
        "zoo/training/state.py",
        "trainer.generators or read_generators()",
        "read_generators()",
        "tests/training/test_resume.py::test_an_evaluation_that_was_stopped_begins_again_with_the_numbers_that_it_drew",
    ),
    Mutant(
        "the losses of an epoch are forgotten in its middle",
        "zoo/training/losses.py",
        "        vars(self).update(state)\n",
        '        self.steps = state["steps"]\n',
        "tests/training/test_resume.py::test_a_stopped_run_says_how_it_goes_on_and_does",
    ),
    Mutant(
        "a batch that was read before the training is used in a later epoch",
        "zoo/data/dataset_batches.py",
        "self.kept if start == epoch == 0 else None",
        "self.kept if start == 0 else None",
        "tests/training/test_resume.py::test_killed_anywhere_and_resumed_is_never_killed",
    ),
    Mutant(
        "workers do not read again what they had read",
        "zoo/data/dataset_batches.py",
        "again = start if self.workers else 0",
        "again = 0",
        "tests/data/test_batches.py::test_an_epoch_can_be_gone_on_with_in_its_middle",
    ),
    Mutant(
        "a damaged checkpoint is taken",
        "zoo/training/checkpoint.py",
        'hashlib.sha256(content).hexdigest() != known["sha256"]',
        "False",
        "tests/training/test_resume.py::test_a_damaged_checkpoint_is_told_and_kept_and_the_one_before_is_taken",
    ),
    Mutant(
        "the oldest checkpoint is taken",
        "zoo/training/checkpoint.py",
        "sorted(found, reverse=True)",
        "sorted(found)",
        "tests/training/test_resume.py::test_a_damaged_checkpoint_is_told_and_kept_and_the_one_before_is_taken",
    ),
    Mutant(
        "two processes train one run",
        "zoo/training/resume.py",
        "            held.enter_context(_lock(folder))\n",
        "            pass\n",
        "tests/training/test_resume.py::test_two_processes_cannot_train_one_run",
    ),
    Mutant(
        "changed data are trained on",
        "zoo/training/begun.py",
        "        _refuse_changes(began, record)\n",
        "        pass\n",
        "tests/training/test_resume.py::test_what_changed_since_the_run_began_is_refused_by_name",
    ),
    Mutant(
        "a second signal waits",
        "zoo/training/signals.py",
        "                    leave(number, tell())\n",
        "                    pass\n",
        "tests/training/test_resume.py::test_the_second_signal_ends_at_once_and_leaves_whole_checkpoints",
    ),
    Mutant(
        "a mended repetition is bitwise",
        "zoo/training/reproduction.py",
        "grade=BITWISE if same else SAME",
        "grade=BITWISE if True else SAME",
        "tests/training/test_reproduction.py::test_another_training_is_a_drift_with_an_exit_code_of_its_own",
    ),
    Mutant(
        "pictures are not rounded for a predictor",
        "zoo/registry/preprocess.py",
        "        if self.rounded and not images.is_floating_point():\n            images = self.fit(images)\n",
        "",
        "tests/data/test_fitted.py::test_fitted_images_give_the_inputs_of_the_originals",
    ),
    Mutant(
        "the cut of a picture is off by a pixel",
        "zoo/registry/preprocess.py",
        "(_find_start(has, kept) - _find_start(part, kept) for",
        "(_find_start(has, part) for",
        "tests/data/test_fitted.py::test_rounding_is_the_only_difference_from_a_resize_of_floats",
    ),
    Mutant(
        "a file gets its name before it is on the disk",
        "zoo/storage/files.py",
        "        os.fsync(file)\n    finally:\n        os.close(file)\n\n",
        "        pass\n    finally:\n        os.close(file)\n\n",
        "tests/storage/test_files.py::test_the_file_reaches_the_disk_before_the_rename_and_the_rename_before_the_return",
    ),
    Mutant(
        "the new name of a file is not made durable",
        "zoo/storage/files.py",
        "            os.fsync(opened)\n",
        "            pass\n",
        "tests/storage/test_files.py::test_the_file_reaches_the_disk_before_the_rename_and_the_rename_before_the_return",
    ),
    Mutant(
        "offline asks the network",
        "zoo/registry/downloads.py",
        "    if offline and missing:\n",
        "    if offline and not missing:\n",
        "tests/registry/test_downloads.py::test_offline_connects_to_nothing",
    ),
    Mutant(
        "a redirect may lead away from https",
        "zoo/registry/transfers.py",
        'if there.scheme != "https" and not local:',
        "if not there.scheme:",
        "tests/registry/test_downloads.py::test_a_redirect_may_not_leave_https",
    ),
    Mutant(
        "the time in which a program is stopped uses up that of its step",
        "zoo/training/signals.py",
        "GRACE_PARTS = 20",
        "GRACE_PARTS = 1",
        "tests/training/test_resume.py::test_the_time_in_which_the_whole_program_is_stopped_is_nobodys_fault",
    ),
    Mutant(
        "an update does not wait until the state is copied",
        "zoo/training/step.py",
        "            wait([copying])\n",
        "            return\n",
        "tests/training/test_trainer_state.py::test_what_is_copied_while_the_training_goes_on_is_what_it_was",
    ),
    Mutant(
        "the workers of a killed process are not waited for",
        "zoo/training/resume.py",
        "timeout=ORPHANS,",
        "timeout=0,",
        "tests/training/test_resume.py::test_a_worker_that_outlives_its_killed_parent_is_waited_for",
    ),
    Mutant(
        "a worker outlives its main process",
        "zoo/data/workers.py",
        "    main.join()\n    os._exit(1)\n",
        "    main.join()\n",
        "tests/data/test_workers.py::test_workers_end_with_a_main_process_that_is_killed",
    ),
    Mutant(
        "a model whose numbers overflow is kept",
        "zoo/training/finite.py",
        "        if name not in known:\n",
        "        if name in known:\n",
        "tests/training/test_finite.py::test_statistics_that_overflow_end_a_run_whose_loss_is_finite",
    ),
    Mutant(
        "a rename takes the empty folder of another process",
        "zoo/storage/creation.py",
        "ctypes.c_uint(exclusively)",
        "ctypes.c_uint(0)",
        "tests/records/test_run_folders.py::test_a_name_that_is_taken_is_refused",
    ),
    Mutant(
        "only the model is taken from a checkpoint",
        "zoo/training/state.py",
        "    for name, part in parts.items():\n        if",
        "    for name, part in [*parts.items()][:1]:\n        if",
        "tests/whole/test_golden_runs.py::test_golden_runs_are_read_gone_on_with_repeated_and_compared",
    ),
)


def main(numbers: Sequence[int]) -> int:
    """Try the mutants of these numbers, counted from 1, or all; return how many lived or could not be tried."""
    chosen = [(number, MUTANTS[number - 1]) for number in numbers or range(1, len(MUTANTS) + 1)]
    lived = 0
    with tempfile.TemporaryDirectory(prefix="zoo-mutants-") as folder:
        copy = Path(folder)
        copy_tree(copy)
        print("without a mutant ...", flush=True)
        if code := run_tests(copy, sorted({mutant.test for _, mutant in chosen}), told=True):
            print(f"the tests fail without a mutant (exit code {code}): nothing can be told", file=sys.stderr)
            return len(chosen)
        for number, mutant in chosen:
            file, whole = copy / mutant.file, (copy / mutant.file).read_text(encoding="utf-8")
            file.write_text(mutate(whole, mutant), encoding="utf-8")
            code = run_tests(copy, [mutant.test])
            file.write_text(whole, encoding="utf-8")
            verdict = {0: "LIVED", 1: "killed"}.get(code, f"NOT TRIED, exit code {code}")
            lived += code != 1
            print(f"{number:2} {verdict:7} {mutant.fault} ({mutant.file})", flush=True)
    print(f"{len(chosen) - lived} of {len(chosen)} killed")
    return lived


def mutate(whole: str, mutant: Mutant) -> str:
    """Return the content of a file with the mutant's text replaced; raise ValueError unless it is there once."""
    if (count := whole.count(mutant.text)) != 1:
        raise ValueError(f"{mutant.file}: expected {mutant.text!r} once, found it {count} times")
    return whole.replace(mutant.text, mutant.instead)


def copy_tree(target: Path) -> None:
    """Copy what the tests need."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignored)
        elif source.exists():
            shutil.copy(source, target / part)


def run_tests(copy: Path, tests: Sequence[str], told: bool = False) -> int:
    """Run tests in the copy, until the first failure; return pytest's exit code: 0 passed, 1 failed.

    `told` prints what pytest says of a failure.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (copy, copy / "plugins"))),
        "ZOO_TEST_NO_SKIP": "",
    }
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two changes within a second look the same to a cache of bytecode
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    if told and done.returncode:
        print(done.stdout[-3000:], done.stderr[-1000:], sep="\n", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(1 if main([int(argument) for argument in sys.argv[1:]]) else 0)
