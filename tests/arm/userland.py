"""A userland of 64-bit Arm: Debian's packages unpacked in a folder, run by qemu, with torch's wheel for Arm."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from importlib.metadata import distribution, requires
from pathlib import Path

TORCH = "2.7.1"
# what a Raspberry Pi 4 has; on qemu's "max", which has SVE, oneDNN's float kernels run into illegal instructions
CPU = "cortex-a72"
SUITE = "bookworm"
PACKAGES = ("python3-minimal", "libpython3-stdlib", "python3-distutils", "python3-pip-whl")
TOOLS = {"debootstrap": "debootstrap", "qemu-aarch64-static": "qemu-user-static"}
PRODUCT = ("fxq-core", "fxq-qnnpack")
# setuptools: torch's timers, which the demo imports, import it
OTHERS = (f"torch=={TORCH}", "setuptools", "pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100")


class Userland:
    """Everything lies in one folder: what was downloaded stays there, what is under test is copied anew.

    The kernel never starts a foreign binary itself, so nothing is registered or mounted: ``python`` is a script that
    runs Arm's Python in qemu, which looks for a file in the userland before it looks on the machine. Python knows
    itself by that script's name, so what tests start with ``sys.executable`` is emulated too.
    """

    def __init__(self, folder: Path) -> None:
        # in a folder of its own: above it Python looks for the venv that it is in, and ours may be in a machine's
        self.root, self.python = folder / "root", folder / "bin" / "python"
        self.downloaded, self.product = folder / "downloaded", folder / "product"

    def build(self) -> None:
        """Unpack, download and copy what is missing.

        Raises:
            subprocess.CalledProcessError: a tool failed; it has said why.
        """
        self.root.parent.mkdir(parents=True, exist_ok=True)
        _install_tools()
        _once(self._unpack, self.root, SUITE, *PACKAGES)
        self._write_python()
        _once(self._download, self.downloaded, *OTHERS, *_required())
        _emptied(self.product)
        for name in PRODUCT:
            _copy(name, self.product)

    def run(self, *arguments: str | Path, **environment: str) -> int:
        """Run Arm's Python with everything installed; gives its exit code."""
        paths = os.pathsep.join(map(str, (self.product, self.downloaded)))
        added = {"PYTHONPATH": paths, "PYTHONNOUSERSITE": "1", "QEMU_CPU": CPU, **environment}
        without = "-W", "ignore:Failed to initialize NumPy:UserWarning"
        return subprocess.run([self.python, *without, *arguments], env={**os.environ, **added}, check=False).returncode

    def _unpack(self) -> None:
        options = "--arch=arm64", "--foreign", "--variant=minbase", f"--include={','.join(PACKAGES)}"
        _run("debootstrap", *options, SUITE, self.root)
        # debootstrap's second stage would configure the packages with Arm's dpkg; Python needs no more than their files
        for package in sorted(self.root.glob("var/cache/apt/archives/*.deb")):
            _run("dpkg-deb", "--extract", package, self.root)

    def _write_python(self) -> None:
        binary = (self.root / "usr/bin/python3").resolve()
        words = "exec", "qemu-aarch64-static", "-L", self.root, "-0", self.python, binary
        self.python.parent.mkdir(exist_ok=True)
        self.python.write_text(f'#!/bin/sh\n{shlex.join(map(str, words))} "$@"\n')
        self.python.chmod(0o755)

    def _download(self) -> None:
        (pip,) = self.root.glob("usr/share/python-wheels/pip-*.whl")
        options = "--quiet", "--no-compile", "--root-user-action", "ignore", "--target", self.downloaded
        # the machine's constraints are for its own torch
        environment = {**os.environ, "PIP_CONSTRAINT": ""}
        _run(self.python, pip / "pip", "install", *options, *OTHERS, *_required(), env=environment)


def _once(make: object, folder: Path, *made_of: str) -> None:
    """Make a folder unless it was made of the same before, and whole."""
    stamp, text = folder / "complete", "\n".join(made_of)
    if not stamp.is_file() or stamp.read_text() != text:
        _emptied(folder)
        make()
        stamp.write_text(text)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _install_tools() -> None:
    missing = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    if missing:
        _run("apt-get", "update", "--quiet=2")
        _run("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *missing)


def _required() -> list[str]:
    """What the core requires without its extras; pip on Arm reads the markers."""
    return [requirement for requirement in requires(PRODUCT[0]) or () if "extra ==" not in requirement]


def _copy(name: str, target: Path) -> None:
    """Copy an installed distribution, which is Python alone, with its metadata."""
    found = distribution(name)
    for file in found.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(found.locate_file(file)), target / file)


def _run(*words: str | Path, env: dict[str, str] | None = None) -> None:
    print("$", shlex.join(map(str, words))[:200], flush=True)
    subprocess.run(words, env=env, check=True)
