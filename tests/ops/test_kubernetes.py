"""contrib/kubernetes/reed.yaml: its ConfigMaps are written as kubelet does it, and a core runs with what it says.

kubelet writes a volume into a new folder, and then renames a link to it:

    /srv/site/..2026_01  plugins/word-count/main.lua, …
    /srv/site/..data ──▶ ..2026_01
    /srv/site/plugins ──▶ ..data/plugins
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "contrib/kubernetes/reed.yaml"
PAGE = '{"body": "one two three"}'


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def pod(objects) -> dict[str, Any]:
    return objects["reed"]["spec"]["template"]["spec"]


class ProjectedVolume:
    """The files of a projected volume."""

    def __init__(self, folder: Path, sources: list[dict[str, Any]]) -> None:
        self.folder = folder
        self._sources = [source["configMap"] for source in sources]
        self._writes = 0

    def write(self, objects: dict[str, Any]) -> None:
        self._writes += 1
        version = self.folder / f"..{self._writes}"
        for source in self._sources:
            data = objects[source["name"]]["data"]
            items = source.get("items") or [{"key": key, "path": key} for key in data]
            for item in items:
                path = version / item["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(data[item["key"]], encoding="utf-8")
        self._link("..data", version.name)
        for name in os.listdir(version):
            self._link(name, f"..data/{name}")

    def _link(self, name: str, target: str) -> None:
        temporary = self.folder / "..temporary"
        temporary.symlink_to(target)
        temporary.rename(self.folder / name)


@pytest.fixture
def volume(site, pod) -> ProjectedVolume:
    (site_volume,) = [each for each in pod["volumes"] if each["name"] == "site"]
    folder = site.root / "mounted"
    folder.mkdir()
    site.registry, site.config = folder / "plugin-registry.csv", folder / "reed.yaml"
    site.plugin_dirs = [folder / "plugins"]
    return ProjectedVolume(folder, site_volume["projected"]["sources"])


def test_the_plugin_of_the_config_map_runs_and_its_next_version_takes_over(site, volume, objects) -> None:
    volume.write(objects)
    site.start()
    assert site.reed("plugin", "start", "word-count").returncode == 0
    assert json.loads(site.reed("plugin", "send", "word-count", "count", PAGE).stdout) == {"words": 3}

    data = objects["reed-plugin-word-count"]["data"]
    changed = {**data, "main.lua": data["main.lua"].replace("{ words =", "{ again = true, words =")}
    volume.write({**objects, "reed-plugin-word-count": {"data": changed}})
    reloaded = site.reed("plugin", "reload")
    assert reloaded.returncode == 0, reloaded.stderr
    assert json.loads(site.reed("plugin", "send", "word-count", "count", PAGE).stdout) == {"again": True, "words": 3}
    site.no_tracebacks()


def test_the_probes_succeed_only_while_the_core_runs(site, volume, objects, pod) -> None:
    volume.write(objects)
    (container,) = pod["containers"]
    commands = [container[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "readiness", "liveness")]
    assert {command[0] for command in commands} == {"reed"}
    assert [site.reed(*command[1:]).returncode for command in commands] == [3, 3, 3]
    site.start()
    assert [site.reed(*command[1:]).returncode for command in commands] == [0, 0, 0]


def test_the_pod_gives_the_core_no_privilege(pod) -> None:
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False


def test_the_mounts_are_those_that_the_image_expects(objects, pod) -> None:
    """The folders of the Containerfile, each from a volume of the pod."""
    (container,) = pod["containers"]
    claims = [each["metadata"]["name"] for each in objects["reed"]["spec"]["volumeClaimTemplates"]]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == {*claims, *(each["name"] for each in pod["volumes"])}
    image = (ROOT / "contrib/container/Containerfile").read_text(encoding="utf-8")
    for line in ("VOLUME /srv/data", "WORKDIR /srv/site", "USER 10001:10001"):
        assert line in image
    assert set(mounts) == {"/tmp", "/srv/data", "/srv/site"}
