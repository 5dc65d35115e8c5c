"""`python -m zoo`: the same as the command `zoo`."""

from zoo.cli.main import entry

entry()
