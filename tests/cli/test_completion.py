"""Completion, by its subcommand and through the shells that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reed.cli import COMMANDS, main
from reed.plugin_types import LANGUAGES

from .conftest import ENVIRON


@pytest.fixture
def offered(on_site):
    """Candidates for the last, unfinished argument."""

    def ask(*words: str) -> list[str]:
        return [line.partition("\t")[0] for line in on_site("completion", "words", "--", *words).out.splitlines()]

    return ask


def test_completion_starts_with_the_commands(offered):
    assert offered("") == list(COMMANDS)
    assert offered("se") == ["serve", "search"]


def test_completion_offers_verbs_and_options(offered):
    assert "reload" in offered("plugin", "")
    assert offered("plugin", "sta") == ["status", "start"]
    assert offered("snippet", "list", "--l") == ["--limit"]
    assert "--json" in offered("stop", "--")


def test_completion_offers_plugins_actions_and_signals(offered, on_site, site_folder):
    seo = Path(__file__).parents[2] / "contrib/plugins/simple-seo"
    shutil.copytree(seo, site_folder / "plugins/simple-seo")
    assert on_site("plugin", "reload").code == 0
    assert "simple-seo" in offered("plugin", "start", "")
    assert offered("plugin", "add", "back") == ["backup"]
    assert offered("plugin", "upgrade", "./") == []  # the shell offers files
    assert offered("plugin", "send", "simple-seo", "v") == ["validate"]
    assert offered("plugin", "signal", "simple-seo", "wa") == ["wake"]
    assert offered("plugin", "signal", "--all", "wa") == ["wake"]
    assert "validate" in offered("plugin", "send", "--all", "v")
    assert offered("plugin", "start", "simple-seo", "form") == ["form-validator"]


def test_completion_offers_names_of_snippets(offered, on_site):
    assert on_site("registry", "define", "page", "{}").code == 0
    for name in ("blog/one", "blog/two", "about"):
        assert on_site("snippet", "create", "page", "--name", name, "{}").code == 0
    assert offered("snippet", "get", "") == ["about", "blog/one", "blog/two"]
    assert offered("snippet", "update", "blog/") == ["blog/one", "blog/two"]
    assert offered("schema", "bond", "about", "blog/t") == ["blog/two"]
    assert offered("plugin", "send", "simple-seo", "validate", "blog/o") == ["blog/one"]
    assert offered("plugin", "send", "--all", "validate", "ab") == ["about"]
    assert offered("plugin", "send", "form-validator", "validate", "ab") == [], "that action takes no snippet"
    assert offered("plugin", "logs", "-n3", "form") == ["form-validator"]


def test_languages_of_scaffold_are_offered(offered):
    assert offered("plugin", "scaffold", "x", "--lang", "") == list(LANGUAGES)


def test_completion_of_files_is_left_to_the_shell(offered):
    assert offered("export", "") == []
    assert offered("serve", "--config", "") == []
    assert offered("no-such-command", "") == []


def test_completion_without_a_core_offers_only_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "nowhere"))
    assert main(["completion", "words", "--", "plugin", "start", ""]) == 0
    assert capsys.readouterr().out == ""
    assert main(["completion", "words", "--", "snippet", "get", ""]) == 0
    (tmp_path / "reed.yaml").write_text("runtime_dir: [nonsense]\n")
    with monkeypatch.context() as changed:
        changed.chdir(tmp_path)
        changed.delenv("REED_RUNTIME_DIR")
        assert main(["completion", "words", "--", "snippet", "get", ""]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["completion", "words", "--", "plugin", "star"]) == 0
    assert capsys.readouterr().out.startswith("start\t")


def test_an_unknown_shell_gets_the_nearest_name(on_site):
    ran = on_site("completion", "bsh")
    assert ran.code == 2
    assert "bsh" in ran.err
    assert "bash" in ran.err


# Completes `reed plugin sta` by the shell's own means.
_ASK = {
    "bash": 'eval "$(reed completion bash)"; COMP_WORDS=(reed plugin sta); COMP_CWORD=2; _reed; echo "${COMPREPLY[@]}"',
    "zsh": (
        'autoload -U compinit; compinit -D; compadd() { shift; print -r -- "${(P@)1}" };'
        ' eval "$(reed completion zsh)"; words=(reed plugin sta); CURRENT=3; _reed'
    ),
    "fish": "reed completion fish | source; complete -C 'reed plugin sta' | cut -f1 | string join ' '",
}


@pytest.mark.parametrize("shell", _ASK)
def test_the_shell_completes(shell, tmp_path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "bin" / "reed"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m reed "$@"\n')
    command.chmod(0o755)
    environ = {
        **ENVIRON,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    ran = subprocess.run(
        [program, "-c", _ASK[shell]], check=False, env=environ, capture_output=True, text=True, timeout=60
    )
    assert sorted(ran.stdout.split()) == ["start", "status"], ran.stderr
