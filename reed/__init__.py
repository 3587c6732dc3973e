"""ReedCMS's plugin system. Other programs use `reed.client`, `reed.daemon` and `reed.testing` (embedding.md)."""

__version__ = "0.1.0"
