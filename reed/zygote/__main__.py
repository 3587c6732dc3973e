"""The zygote's process: `python -m reed.zygote`, with its end of the core's socket as stdin."""

from reed.zygote.process import main

main()
