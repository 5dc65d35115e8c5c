"""zoo's own loggers: what happens in a run, told to the tools that others look at runs with."""
