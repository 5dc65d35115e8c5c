"""The registry: what plugins declare, found and turned into objects."""
