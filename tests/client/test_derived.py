"""AsyncClient has the methods of Client, with the same parameters."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import reed.client
from reed.client import Client
from reed.client.aio import AsyncClient

INSTALLED = Path(reed.client.__file__).parent
ROOT = INSTALLED.parents[1]


def load(name: str) -> ModuleType:
    """The module beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def derive() -> ModuleType:
    module = load("derive")
    module.CLIENT = INSTALLED  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("name", derive().FILES)
def test_a_derived_file_is_what_the_blocking_one_makes(name: str) -> None:
    assert (INSTALLED / "aio" / name).read_text(encoding="utf-8") == derive().derived(name), (
        "run: python tests/client/derive.py --write"
    )


def test_the_reference_is_what_the_docstrings_make() -> None:
    module = load("derive_reference")
    assert module.PAGE.read_text(encoding="utf-8") == module.derived(), (
        "run: python tests/client/derive_reference.py --write"
    )
    assert public(Client) == set(re.findall(r"^### (\w+)$", module.derived(), re.MULTILINE))


def public(client: type) -> set[str]:
    return {name for name in dir(client) if not name.startswith("_") and callable(getattr(client, name))}


def test_both_clients_have_the_same_methods() -> None:
    assert public(Client) == public(AsyncClient)


@pytest.mark.parametrize("name", sorted(public(Client)))
def test_a_method_has_the_same_signature(name: str) -> None:
    blocking, aio = inspect.signature(getattr(Client, name)), inspect.signature(getattr(AsyncClient, name))
    assert list(blocking.parameters.values()) == list(aio.parameters.values())
    returned = re.sub(r"\b(Iterator|Watch)\b", r"Async\1", str(blocking.return_annotation))
    assert returned == str(aio.return_annotation)
    waits = inspect.iscoroutinefunction(getattr(AsyncClient, name)) or inspect.isasyncgenfunction(
        getattr(AsyncClient, name)
    )
    assert waits or name in {"watch", "with_timeout"}


def test_the_first_parameters_of_both_are_the_same() -> None:
    blocking, aio = inspect.signature(Client).parameters, inspect.signature(AsyncClient).parameters
    assert list(blocking.items()) == list(aio.items())[: len(blocking)]


def test_the_clients_are_imported_from_reed() -> None:
    assert reed.Client is Client
    assert reed.AsyncClient is AsyncClient
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        reed.Klient  # noqa: B018


@pytest.mark.parametrize(
    ("code", "absent"),
    [("import reed", {"typing", "json", "asyncio", "reed.client"}), ("from reed import Client", {"asyncio", "socket"})],
)
def test_what_is_not_used_is_not_imported(code: str, absent: set[str]) -> None:
    printed = f"{code}; import sys; print(sorted({absent!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", printed], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"
