"""Checks: what a certificate asks of each entry of a plugin, and `zoo check` of one combination."""
