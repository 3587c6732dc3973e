#!/bin/sh
# Test reed with the Pythons of other Debian releases: sh contrib/pythons.sh [RELEASE…]
#
#   debootstrap ── the release's root folder, cached ── a venv with the wheel ── the tests, in a mount namespace
#
# RELEASE is a release of Debian; by default trixie (Python 3.13) and sid (3.14). `--prepare` makes the root folders, and of
# trixie a tar file for tests/ops/test_image.py, and runs nothing. They are kept in /var/cache/reed-tests, or below
# XDG_CACHE_HOME; remove a folder there to have a newer release. Needs root and debootstrap; says so and succeeds elsewhere.
#
# Left out, because they are about other programs than Python or take minutes: tests of PostgreSQL, of Rust plugins, of
# faults, stalls, containers, and browsers. REED_PYTHONS_ALL=1 runs them as far as the release has what they need;
# REED_PYTHONS_LEFT_OUT names other folders of tests/ to leave out.
# A DeprecationWarning is an error, in the tests, cores and plugins.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-/var/cache}/reed-tests
mirror=${REED_DEBIAN_MIRROR:-}  # debootstrap knows one
python=${PYTHON:-python3}
left_out=${REED_PYTHONS_LEFT_OUT:-postgres faults stall ops web}

say() { printf '\n== %s\n' "$*"; }
leave_out() { echo "left out: $*"; exit 0; }

make_root() { # RELEASE: its root folder with Python; fails if there is no such release, or no network
    [ -x "$cache/debian-$1/usr/bin/python3" ] && return
    rm -rf "$cache/new-$1"
    debootstrap --variant=minbase --include=python3,python3-venv "$1" "$cache/new-$1" $mirror >"$cache/$1.log" 2>&1 || return
    rm -rf "$cache/new-$1/var/cache/apt/archives" "$cache/debian-$1"
    mv "$cache/new-$1" "$cache/debian-$1"
}

make_base_image() { # of Debian's slim image: no documents, manuals and translations
    [ -f "$cache/debian-trixie.tar" ] && return
    rm -rf "$cache/new-base"
    debootstrap --variant=minbase trixie "$cache/new-base" $mirror >"$cache/base.log" 2>&1 || return
    (cd "$cache/new-base" && rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/* &&
        printf 'path-exclude /usr/share/%s/*\n' doc man locale >etc/dpkg/dpkg.cfg.d/slim)
    tar -C "$cache/new-base" -cf "$cache/new.tar" .
    mv "$cache/new.tar" "$cache/debian-trixie.tar"
    rm -rf "$cache/new-base"
}

test_release() { # RELEASE
    root=$cache/debian-$1 wheels=$work/$1
    version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "Python $version of Debian $1"
    mkdir "$wheels"
    if ! "$python" -m pip download --quiet --only-binary :all: --python-version "$version" --dest "$wheels" \
        "$(ls "$work"/dist/*.whl)[test]"; then
        echo "left out: not every package that reed needs is there for Python $version"
        return
    fi
    set --
    if [ -z "${REED_PYTHONS_ALL:-}" ]; then
        for part in $left_out; do set -- "$@" "--ignore=tests/$part"; done
    fi
    root=$root wheels=$wheels source=$work/source \
        unshare --mount sh -euc '
        for each in proc sys dev; do mount --rbind "/$each" "$root/$each"; done
        mount -t tmpfs -o mode=1777 none "$root/tmp"   # the cached folder stays as it is
        cp -R "$source" "$root/tmp/reed-tests"
        rm -rf "$root/tmp/reed-tests/reed"             # the tests are of the wheel
        cp -R "$wheels" "$root/tmp/wheels"
        exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TMPDIR=/tmp PATH=/tmp/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-}" sh -euc "
            python3 -m venv /tmp/venv
            pip install --quiet --no-index --find-links /tmp/wheels \"reed-cms[test]\"
            cd /tmp/reed-tests
            export PYTHONWARNINGS=error::DeprecationWarning
            exec sh contrib/test_twice.sh python -W error::DeprecationWarning \"\$@\"" sh "$@"' sh "$@" </dev/null
}

[ "$(id -u)" = 0 ] || leave_out "only root can make and enter the root folders of other Debian releases"
command -v debootstrap >/dev/null || leave_out "debootstrap is not here; Debian: apt-get install debootstrap"
unshare --mount true 2>/dev/null || leave_out "no mount namespace can be made here"
mkdir -p "$cache"

prepare=
if [ "${1:-}" = --prepare ]; then prepare=1; shift; fi
[ $# -gt 0 ] || set -- trixie sid
ready=
for name in "$@"; do
    if make_root "$name"; then ready="$ready $name"; else echo "left out: Debian $name cannot be had ($cache/$name.log)"; fi
done
if [ -n "$prepare" ]; then
    make_base_image || echo "left out: no base image for tests/ops/test_image.py ($cache/base.log)"
    exit 0
fi
[ -n "$ready" ] || exit 0

work=$(mktemp -d "${TMPDIR:-/tmp}/reed-pythons.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
(cd "$here" && tar -cf - --exclude='*.egg-info' --exclude=__pycache__ --exclude=target reed tests bench contrib setup.cfg \
    pyproject.toml LICENSE README.md SECURITY.md CHANGELOG.md plugin-registry.csv) | (cd "$work/source" && tar -xf -)
cp -R "$work/source" "$work/build"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/dist" "$work/build"
[ -n "${REED_PYTHONS_ALL:-}" ] || echo "left out there: tests/{$(echo "$left_out" | tr ' ' ,)}, and what needs cargo or PostgreSQL"
status=0
for name in $ready; do
    test_release "$name" || status=1
done
exit $status
