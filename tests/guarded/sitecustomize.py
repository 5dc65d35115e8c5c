"""Puts the guard of the tests into each Python that has this folder in PYTHONPATH."""

import os

if os.environ.get("GUARD_LOG"):
    import importlib.util

    _place = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guard.py")
    _spec = importlib.util.spec_from_file_location("guard", _place)
    _guard = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_guard)
    _guard.install()
