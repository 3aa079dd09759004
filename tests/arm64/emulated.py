"""Python with numpy and onnxruntime on other CPUs, under qemu: arm64, and x64 of an older kind.

`python tests/arm64/emulated.py` makes what the arm64 ones need, or finds it made, and prints where it is: a
folder with a Debian, from the mirror that apt is configured with, and the wheels, from pip's index, in the
versions of the Python that runs this. It takes an x64 Debian with `PACKAGES`, and no rights but a user's.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("qemu-user-static", "debootstrap")
WHEELS = ("numpy", "onnxruntime")
ARM64 = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}
"""Part number and features: of Raspberry Pi 4, and of Pi 5, which has the dot product (asimddp)."""
AVX2 = "Haswell-noTSX"
"""An x64 CPU with AVX2 and without VNNI; it runs this machine's own Python."""

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


class UnavailableError(Exception):
    """This machine lacks what the emulation takes; the message says what, and what to type."""


def prepare(cache: Path | None = None) -> Path:
    """Return the folder of what the arm64 CPUs run, made first where it is absent.

    Args:
        cache: where it is kept, by default edgegan/ in the user's cache folder.

    Raises:
        UnavailableError: the machine is not x64, a Debian package is missing, or apt knows no Debian mirror.
        RuntimeError: a download failed.
    """
    if platform.machine() != "x86_64":
        raise UnavailableError(f"what runs here is compared with x64; this machine is {platform.machine()}")
    tools = ("qemu-aarch64-static", "qemu-x86_64-static", "debootstrap", "dpkg")
    if missing := [tool for tool in tools if not shutil.which(tool, path=_PATH)]:
        raise UnavailableError(f"{', '.join(missing)} absent: as root, apt-get install {' '.join(PACKAGES)}")
    mirror, release = _mirror()
    wheels = [f"{name}=={version(name)}" for name in WHEELS]
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    folder = (cache or _cache()) / "-".join(("arm64", release, *wheels, made_by)).replace("==", "-")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as temporary:
            made = Path(temporary) / "root"
            _debian(made / "debian", mirror, release)
            _wheels(made, wheels)
            for cpu in ARM64:
                _machine(made, cpu)
            if not folder.is_dir():
                made.rename(folder)
    return folder


def run(root: Path, cpu: str, *command: object, path: Path) -> None:
    """Run Python with `command` on `cpu`: one of `ARM64`, or `AVX2`.

    Args:
        root: from `prepare`.
        path: a folder to import from, besides numpy and onnxruntime.

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    if cpu in ARM64:
        qemu = ("qemu-aarch64-static", "-cpu", cpu, "-L", root / cpu)
        python, wheels = _python(root), root / "wheels"
    else:
        qemu = ("qemu-x86_64-static", "-cpu", cpu)
        python, wheels = Path(sys.executable).resolve(), sysconfig.get_path("purelib")
    environment = {
        "PYTHONPATH": os.pathsep.join((str(path), str(wheels))),
        "PYTHONPYCACHEPREFIX": str(root / "pycache"),
        "LC_ALL": "C.UTF-8",
    }
    _call(*qemu, python, "-s", *command, environment=environment)


def _mirror() -> tuple[str, str]:
    """Return the address and the release's codename of the first Debian mirror that apt knows."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
    try:
        lines = _call("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", *wanted).split("\n")
    except (OSError, RuntimeError) as error:
        raise UnavailableError(f"apt cannot be asked for its mirrors: {error}") from error
    if not lines[0]:
        raise UnavailableError("apt has no lists of a Debian mirror: on a Debian, as root, apt-get update")
    mirror, release = lines[0].split()
    return mirror, release


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgegan"


def _debian(folder: Path, mirror: str, release: str) -> None:
    """Unpack the packages of a minimal Debian and Python. Nothing is installed, so nothing needs root."""
    options = ("--arch=arm64", "--variant=minbase", "--include=python3,libstdc++6")
    _call("debootstrap", "--download-only", *options, release, folder, mirror)
    for package in folder.glob("var/cache/apt/archives/*.deb"):
        _call("dpkg", "-x", package, folder)
        package.unlink()


def _wheels(root: Path, wheels: list[str]) -> None:
    python = _python(root).name.removeprefix("python")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
    only = ("--no-deps", "--no-compile", "--only-binary=:all:", f"--python-version={python}", *platforms)
    _call(sys.executable, "-m", "pip", "install", "-q", "--target", root / "wheels", *only, *wheels)


def _python(root: Path) -> Path:
    return (root / "debian" / "usr" / "bin" / "python3").resolve(strict=True)


def _machine(root: Path, cpu: str) -> None:
    """Write what a program on `cpu` sees as /: the Debian, and the CPU in /proc/cpuinfo.

    onnxruntime chooses its kernels by it, and crashes where it describes another architecture.
    """
    machine = root / cpu
    (machine / "proc").mkdir(parents=True)
    for path in (root / "debian").iterdir():
        if path.name != "proc":
            (machine / path.name).symlink_to(Path("..", "debian", path.name))
    part, features = ARM64[cpu]
    (machine / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 1\n\n"
    )


def _call(*command: object, environment: dict[str, str] | None = None) -> str:
    words = [str(word) for word in command]
    ran = subprocess.run(
        words,
        env={**(os.environ if environment is None else environment), "PATH": _PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode:
        raise RuntimeError(f"{' '.join(words)}\nended with {ran.returncode}:\n{ran.stdout[-4000:]}")
    return ran.stdout


if __name__ == "__main__":
    print(prepare())
