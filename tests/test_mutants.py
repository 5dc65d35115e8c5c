"""The table of mutants fits the tree: each text is in its file, once, and the test that must notice it is there."""

from __future__ import annotations

import ast
import re

import pytest
from mutants import MUTANTS, ROOT, Mutant, main, mutate


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_a_mutant_can_be_made_and_is_still_python(mutant: Mutant) -> None:
    whole = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = mutate(whole, mutant)
    assert changed != whole
    ast.parse(changed)
    file, _, name = mutant.test.partition("::")
    assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8")


def test_mutants_are_spread_over_the_core() -> None:
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS) >= 20
    rooms = {re.match(r"zoo/(\w+)/", mutant.file)[1] for mutant in MUTANTS}
    assert rooms == {"data", "models", "records", "registry", "results", "storage", "training"}


@pytest.mark.nightly
def test_every_mutant_is_noticed() -> None:
    assert main(()) == 0
