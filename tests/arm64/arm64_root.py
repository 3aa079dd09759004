"""An arm64 Debian with Python, numpy and onnxruntime in a folder, and qemu to run its Python on an x64 machine.

`python tests/arm64/arm64_root.py` makes it, or finds it made, and prints where it is. It needs the Debian
packages of `PACKAGES`, and no more rights than a user's. The packages in it come from the Debian mirror that apt
is configured with, the wheels from pip's index, in the versions of the Python that runs this.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("qemu-user-static", "debootstrap")
WHEELS = ("numpy", "onnxruntime")
QEMU = "qemu-aarch64-static"
FEATURES = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}
"""Part number and features of each CPU: Raspberry Pi 4, and Pi 5, which has the dot product (asimddp)."""
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


class Unavailable(Exception):
    """This machine has not what making or running the root takes; the message says what."""


def prepare(cache: Path | None = None) -> Path:
    """Return the folder of the root, made first where it is absent.

    Args:
        cache: where it is kept, by default edgegan/ in the user's cache folder.

    Raises:
        Unavailable: a Debian package is missing, or apt is configured with no Debian mirror.
        RuntimeError: a download failed.
    """
    missing = [tool for tool in (QEMU, "debootstrap", "dpkg") if not shutil.which(tool, path=PATH)]
    if missing:
        raise Unavailable(f"{', '.join(missing)} absent: as root, apt-get install {' '.join(PACKAGES)}")
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
            for cpu in FEATURES:
                _machine(made, cpu)
            if not folder.is_dir():
                made.rename(folder)
    return folder


def run(root: Path, cpu: str, *command: object, path: Path, threads: int = 1) -> str:
    """Run the arm64 Python with `command` on a `cpu` of `FEATURES`, and return what it printed.

    Args:
        root: from `prepare`.
        path: a folder to import from, besides numpy and onnxruntime.
        threads: of the libraries that ask the environment.

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    machine = root / cpu
    environment = {
        "PYTHONPATH": os.pathsep.join((str(path), str(root / "wheels"))),
        "PYTHONPYCACHEPREFIX": str(root / "pycache"),
        "OMP_NUM_THREADS": str(threads),
        "LC_ALL": "C.UTF-8",
    }
    return _call(QEMU, "-cpu", cpu, "-L", machine, _python(root), "-s", *command, environment=environment)


def _mirror() -> tuple[str, str]:
    """Return the address and the release's codename of the first Debian mirror that apt knows."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
    try:
        lines = _call("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", *wanted).split("\n")
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"apt cannot be asked for its mirrors: {error}") from error
    if not lines[0]:
        raise Unavailable("apt has no lists of a Debian mirror: on a Debian, as root, apt-get update")
    mirror, release = lines[0].split()
    return mirror, release


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgegan"


def _debian(folder: Path, mirror: str, release: str) -> None:
    """Unpack the packages that Python and the C++ library need. Nothing is installed, so no root is needed."""
    options = ("--arch=arm64", "--variant=minbase", "--include=python3,libstdc++6")
    _call("debootstrap", "--download-only", *options, release, folder, mirror)
    packages = sorted(folder.glob("var/cache/apt/archives/*.deb"))
    for package in packages:
        _call("dpkg", "-x", package, folder)
        package.unlink()


def _wheels(folder: Path, wheels: list[str]) -> None:
    python = _python(folder).name.removeprefix("python")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
    only = ("--no-deps", "--no-compile", "--only-binary=:all:", f"--python-version={python}", *platforms)
    _call(sys.executable, "-m", "pip", "install", "-q", "--target", folder / "wheels", *only, *wheels)


def _python(folder: Path) -> Path:
    return (folder / "debian" / "usr" / "bin" / "python3").resolve(strict=True)


def _machine(folder: Path, cpu: str) -> None:
    """Write what a program on `cpu` sees as /: the packages, and the CPU in /proc/cpuinfo.

    onnxruntime chooses its kernels by it, and crashes where it describes another architecture.
    """
    machine = folder / cpu
    (machine / "proc").mkdir(parents=True)
    for path in (folder / "debian").iterdir():
        if path.name != "proc":
            (machine / path.name).symlink_to(Path("..", "debian", path.name))
    part, features = FEATURES[cpu]
    (machine / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 1\n\n"
    )


def _call(*command: object, environment: dict[str, str] | None = None) -> str:
    words = [str(word) for word in command]
    ran = subprocess.run(
        words,
        env={**(os.environ if environment is None else environment), "PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode:
        raise RuntimeError(f"{' '.join(words)}\nended with {ran.returncode}:\n{ran.stdout[-4000:]}")
    return ran.stdout


if __name__ == "__main__":
    print(prepare())
