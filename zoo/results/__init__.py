"""Results: what was trained, read again, compared and shown."""
