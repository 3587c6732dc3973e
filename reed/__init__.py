"""ReedCMS's plugin system. Other programs use `reed.client.Client` and `reed.daemon.Daemon` (embedding.md)."""

__version__ = "0.1.0"
