"""Finds Chromium; as root installs it with apt when it is missing. Else says what to do."""

import os
import shutil
import subprocess
import sys


def find() -> str | None:
    """Return Chromium's path; None when there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def main() -> None:
    """Make Chromium be there, or say how to install it. The browser tests skip without it."""
    if find():
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stdout.write("installing chromium for the browser tests\n")
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "chromium", "fonts-noto-cjk"],
            check=False,
            stdout=subprocess.DEVNULL,
        )
    if not find():
        sys.stdout.write("no chromium: browser tests will be skipped; install Debian's chromium\n")


if __name__ == "__main__":
    main()
