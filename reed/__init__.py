"""ReedCMS's plugin system. Other programs use `reed.client`, `reed.daemon` and `reed.testing` (embedding.md).

`from reed import Client, AsyncClient` imports the clients only then.
"""

TYPE_CHECKING = False  # to import typing for it would take longer than the rest
if TYPE_CHECKING:
    from reed.client import Client as Client
    from reed.client.aio import AsyncClient as AsyncClient

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Client":
        from reed.client import Client

        return Client
    if name == "AsyncClient":
        from reed.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module 'reed' has no attribute {name!r}")
