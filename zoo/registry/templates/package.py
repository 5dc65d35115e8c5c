"""A new package: the files that are the same for every kind."""

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
description = "A $noun for zoo"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["zoo-torch>=0.1"]

[project.optional-dependencies]
test = ["pytest"]

# How zoo finds this package: it reads that manifest, and imports nothing until something in it is used.
[project.entry-points.zoo]
$package = "$package:registry.toml"

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.ruff]
line-length = 120
"""

INIT = '"""A $noun for zoo; registry.toml says what zoo has to know of it."""\n'

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
