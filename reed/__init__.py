"""ReedCMS's plugin system: a small daemon that keeps content and runs each plugin as a process of its own.

Other programs use `reed.client.Client` (talk to a core), `reed.daemon.Daemon` (be one) and `reed.testing`
(start one for their tests).
"""

__version__ = "0.1.0"
