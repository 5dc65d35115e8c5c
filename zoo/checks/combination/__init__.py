"""Checks of one model on one data set: `zoo check`."""
