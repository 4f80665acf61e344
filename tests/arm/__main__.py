"""fxq on 64-bit Arm, emulated on this machine: ``python tests/arm FOLDER [arguments of pytest]``.

Builds a userland of Arm in the folder, quantizes the same models here and there, compares all that they compute, and
runs the tests of the engine there. Fails on a difference or a failing test. As root on Debian it installs debootstrap
and qemu-user-static if they are missing; nothing else is changed outside the folder.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from record import record
from userland import Userland

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TESTS = ("engines", "seed_defects/test_native.py")
# whole architectures, which take too long in emulation, and what is exact on x86
LEFT_OUT = ("engines/test_gallery.py", "engines/test_exactness.py")


def main(folder: str, *arguments: str) -> str | None:
    """Returns what failed."""
    arm, started = Userland(Path(folder).resolve()), time.monotonic()
    arm.build()
    record(Path(folder) / "recorded.pt")
    print(f"{time.monotonic() - started:.0f} s for the userland and what is recorded here", flush=True)
    failed = [] if arm.run(HERE / "replay.py", Path(folder) / "recorded.pt") == 0 else ["the comparison"]
    print(f"{time.monotonic() - started:.0f} s with the comparison", flush=True)
    options = "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider", "-n", "2"
    # the profile that sets no deadline: emulation takes its time
    options += "--hypothesis-profile", "ci", *(f"--ignore={ROOT / 'tests' / name}" for name in LEFT_OUT)
    tests = arguments or [ROOT / "tests" / name for name in TESTS]
    if arm.run("-m", "pytest", *options, *tests, FXQ_ENGINES="qnnpack") != 0:
        failed.append("the tests")
    print(f"{time.monotonic() - started:.0f} s in all")
    return f"on Arm failed: {' and '.join(failed)}" if failed else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
