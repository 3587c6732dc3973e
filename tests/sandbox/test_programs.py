"""Real programs under the rules of a native plugin: a shell, Python, Rust with threads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUST = """
use std::{env, fs, io::{Read, Write}, os::unix::net::UnixStream, sync::mpsc, thread};

fn main() {
    let (tell, told) = mpsc::channel();
    let threads: Vec<_> = (0..8u64).map(|n| {
        let tell = tell.clone();
        thread::spawn(move || tell.send((0..1000).map(|k| k * n).sum::<u64>()).is_ok())
    }).collect();
    drop(tell);
    let sum: u64 = told.iter().sum();
    assert!(threads.into_iter().all(|t| t.join().is_ok_and(|sent| sent)));
    let mut core = UnixStream::connect(env::args().nth(1).unwrap()).unwrap();
    core.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    core.read_exact(&mut answer).unwrap();
    let child = std::process::Command::new("/bin/echo").arg("child").output().unwrap();
    let secret = fs::read(env::args().nth(2).unwrap()).map_err(|e| e.kind());
    let data = env::args().nth(3).unwrap();
    fs::write(format!("{data}/out"), "x").unwrap();
    println!("{sum} {} {} {secret:?}", String::from_utf8_lossy(&answer), String::from_utf8_lossy(&child.stdout).trim());
}
"""


@pytest.fixture
def run(sandbox, place):
    """Runs a program as a native plugin, confined between fork and exec."""

    def run(*command: str | Path, **more) -> subprocess.CompletedProcess[str]:
        rules = place.rules("native", ("file_write",), **more)
        python = os.path.realpath(sys.base_prefix)  # the interpreter that runs this test
        confinement = sandbox.prepare(rules._replace(run_paths=(*rules.run_paths, python)))
        try:
            return subprocess.run(
                command,
                preexec_fn=confinement.apply,
                start_new_session=True,
                capture_output=True,
                text=True,
                timeout=30,
                cwd=place.plugin,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                check=False,
            )
        finally:
            confinement.close()

    return run


def test_a_shell(run, place, needs) -> None:
    needs()
    script = place.plugin / "me"
    script.write_text(
        "#!/bin/sh\n"
        f"echo start; ls / 2>/dev/null || echo no list; (echo sub | tr a-z A-Z) & wait\n"
        f"echo x > {place.data}/out && cat {place.data}/out; cat {place.secret} 2>/dev/null || echo no secret\n"
        "for i in 1 2 3; do /bin/true; done; ulimit -c; exit 7\n"
    )
    script.chmod(0o755)
    ended = run(script)
    assert ended.stdout.split("\n") == ["start", "no list", "SUB", "x", "no secret", "0", ""]
    assert ended.returncode == 7, ended.stderr


def test_python(run, place, needs) -> None:
    needs()
    program = (
        "import hashlib, json, socket, subprocess, sys, tempfile, threading\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "print(subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout)\n"
        "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1), hashlib.sha256(b'').hexdigest()[:4])\n"
        f"print(open({str(place.data / 'new')!r}, 'w').write('abc'))\n"
        f"open({str(place.secret)!r})\n"
    )
    ended = run(sys.executable, "-I", "-S", "-c", program)
    assert ended.stdout.split("\n") == ["thread", r"b'child\n'", "b'x' e3b0", "3", ""], ended.stderr
    assert "PermissionError" in ended.stderr


def test_rust_with_threads(run, place, needs, tmp_path: Path) -> None:
    needs()
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("no Rust compiler is installed")
    source, program = tmp_path / "plugin.rs", place.plugin / "me"
    source.write_text(RUST)
    subprocess.run([rustc, "--edition=2021", "-o", program, source], check=True, timeout=120)
    import socket

    path = place.runtime / "plugins" / "me.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        core = os.fork()
        if core == 0:
            signal.alarm(20)
            try:
                peer, _ = listener.accept()
                peer.sendall(b"pong" if peer.recv(4) == b"ping" else b"none")
            finally:
                os._exit(0)
        ended = run(program, path, place.secret, place.data)
        os.waitpid(core, 0)
    assert ended.stdout == "13986000 pong child Err(PermissionDenied)\n", ended.stderr
    assert ended.returncode == 0


def test_the_confinement_survives_exec(run, needs) -> None:
    """No capabilities, no new privileges, the filter, only the three standard descriptors."""
    needs()
    said = run("/bin/sh", "-c", "exec cat /proc/self/status").stdout
    status = dict(line.split(":", 1) for line in said.splitlines())
    assert {status[key].strip() for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    held = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        assert run("/bin/ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    finally:
        os.close(held)


def test_a_setuid_program_gives_nothing(run, place, needs) -> None:
    needs()
    if os.getuid() != 0:
        pytest.skip("making a setuid program of another user takes root")
    program = place.plugin / "id"
    shutil.copy("/usr/bin/id", program)
    os.chown(program, 65534, 65534)
    program.chmod(0o6755)
    assert run(program, "-u").stdout == "0\n"


def test_the_memory_limit_applies_to_the_program(run, needs) -> None:
    """A limit below the size of this process before the exec works, and the program reaches it."""
    needs(0)
    assert run("/bin/echo", "well", memory=8 << 20).stdout == "well\n"
    ended = run("/bin/sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done", memory=8 << 20)
    assert ended.returncode not in (0, -signal.SIGKILL)
    assert "emory" in ended.stderr or ended.returncode < 0, ended


def test_only_its_folder_and_system_programs_are_executed(run, place, needs) -> None:
    needs()
    program = place.data / "true"
    shutil.copy("/bin/true", program)
    program.chmod(0o755)
    with pytest.raises(PermissionError):
        run(program)
