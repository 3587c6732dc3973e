"""How long one request can hold the loop, and what memory it takes: `python -m bench stalls`.

core.py       a core that measures each of its turns: processor time, and the peak of its memory
probe.py      another client, which asks for one small snippet again and again and notes how long it waits
requests.py   the kinds of requests that a caller may make, from harmless to hostile
plugin_requests.py, plugins.py, hostile.py    the same with plugins that run meanwhile
together.py   all kinds at once
table.py      the table: before and after, by kind; tests/stall draws from the same kinds
"""
