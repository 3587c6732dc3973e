"""Benchmarks: `python -m bench`. What is measured, on what terms, and what was tried to make it better: NOTES.md.

    __main__   the table of the numbers to hold        rows/      what is measured: a module for each group of lines
    check      slower than the last record? (CI)       peers/     what it is measured beside, and how that starts
    scale      how cost grows as work grows; plots     results/   dated records, and the plots
    counts     instructions of a request               processes, measure, lines, record, content: for all

Both sides of every measurement are pinned to one processor and take turns, so that a noisy machine is noisy to both.
"""
