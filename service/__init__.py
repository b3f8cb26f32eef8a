"""The service around the page: POST /predict, /model, /healthz, /readyz, and retraining on a hospital's own images.

Knows model/ and nothing of page/; app.py mounts the page on what `api.create_api` returns.
"""
