"""Benchmarks: `python -m bench` prints ratios to peers measured in the same run.

Both sides of every measurement are pinned to one processor and take turns, so that a noisy machine is noisy to both.
"""
