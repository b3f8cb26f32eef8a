"""The service around the page: POST /predict, /model, /healthz and /readyz, with limits, headers and an orderly end.

Knows model/ and nothing of page/; app.py mounts the page on what `api.create_api` returns.
"""
