"""What a person reads when something goes wrong: the place, what happened, and what to do next."""

from __future__ import annotations

import pytest

from reed.errors import CallError, ConfigError, FileError, ManifestError, NotFound, RegistryError


@pytest.mark.parametrize("cls", [FileError, RegistryError, ManifestError, ConfigError])
def test_a_file_error_names_its_place(cls: type[FileError]) -> None:
    assert str(cls("f.csv", "what", line=3, column=7, hint="do this")) == "f.csv:3:7: what; do this"
    assert str(cls("f.csv", "what", line=3)) == "f.csv:3: what"
    assert str(cls("f.csv", "what")) == "f.csv: what"
    assert str(cls("f.csv", "what", column=7)) == "f.csv: what"  # a column without its line tells nothing


def test_a_plugin_answers_with_a_status_of_its_own() -> None:
    error = CallError("teapot", status=418, error_code=77)
    assert (error.status, error.error_code) == (418, 77)
    assert (NotFound("x").status, NotFound("x").error_code) == (404, 30001)
    assert CallError.status == 500  # the class is as it was
