"""The report: one page about several results."""
