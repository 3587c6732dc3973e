"""Python plugins: main.py in the plugin's own process (python-api.md). reed.plugin_host is the process around it.

    runtime     what the host asks of a language: runs main.py and the handlers that reed.plugin holds
    limits      processor time and memory of one job
    traces      an exception as file, line and stack of the plugin's own code
    test_run    `reed plugin test`: a plugin's tests, in its sandbox

It is imported after the fork, so that other plugins pay nothing for it.
"""
