"""The version of zoo: here, so that any module may name it without importing the package's face."""

__version__ = "0.1.0"
