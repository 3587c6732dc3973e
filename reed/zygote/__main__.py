"""The nursery's process: `python -m reed.nursery`, with its end of the core's socket as stdin."""

from reed.nursery.process import main

main()
