"""A new package: the files that are the same for every kind."""

OWN = '"zoo-torch>=0.1"'

README = """\
# $project

A $noun for zoo, called `$name`. Install it, try it, test it:

```sh
pip install -e '.[test]'
zoo run $options
python -m pytest
```

What it provides is declared in [`$package/registry.toml`]($package/registry.toml); the code is in
[`$package/$kind.py`]($package/$kind.py).
"""

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$project"
version = "0.1.0"
description = "$summary"
readme = "README.md"
requires-python = ">=3.11"
dependencies = [$dependencies]

[project.optional-dependencies]
test = ["pytest"]

# How zoo finds this package: $found.
[project.entry-points.zoo]
$package = "$point"

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.ruff]
line-length = 120
"""

INIT = '"""A $noun for zoo; registry.toml says what zoo has to know of it."""\n'

# Those of a package that is made from a file.
README_FROM_FILE = """\
# $project

$summary: $names. Install it, try it, test it:

```sh
pip install -e '.[test]'
$run
python -m pytest
```

The code is in [`$package/$module.py`]($package/$module.py); what it marks with decorators and hooks is what zoo lists.
$convert"""

CONVERT = """\

Weights that were made with the file itself become weights of this package:

```sh
zoo convert WEIGHTS --as $model --output weights.safetensors
```
"""

INIT_FROM_FILE = '"""$summary; $module.py says what zoo has to know of it."""\n'

TESTS_FROM_FILE = '''\
"""Each thing of the package keeps the contract."""

import pytest
from zoo.testing import check_plugin

ENTRIES = [$entries]


@pytest.mark.parametrize("entry", ENTRIES)
def test_certificate(entry):
    """What `zoo plugin test` checks; it says what is wrong, why it matters and how to mend it."""
    check_plugin(entry$options)
'''

# Every test module starts with this; what follows is in the templates of its kind.
TESTS = '''\
"""$promise"""

from pathlib import Path

import pytest
import torch
import zoo
from zoo.testing import check_plugin

import $package
from $package.$kind import $object

NAME = "$project/$name"  # plugin/name always works, whatever else is installed
$constants

def test_certificate():
    """What `zoo plugin test` checks; it says what is wrong, why it matters and how to mend it."""
    folder = Path($package.__file__).parent
    check_plugin(folder / "registry.toml")
'''
