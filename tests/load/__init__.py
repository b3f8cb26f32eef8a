"""How the service bears load: `python -m tests.load`. Measures on this machine; no test, for it times things."""
