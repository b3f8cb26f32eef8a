"""Retraining on a hospital's own images: jobs in a process of their own, one at a time, their routes, and promotion.

Offered only where ADMIN_TOKEN is set (page/retraining.py). Knows training/ by name only: what it needs beyond serving
is imported by `worker`, in the process that trains.
"""
