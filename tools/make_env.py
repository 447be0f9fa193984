"""Make or refresh `.venv`; nothing to do while its stamp fits. Standard library only, for it comes first."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SUPPORTED = ((3, 11), (3, 12), (3, 13))


def wanted_stamp(repo: Path) -> str:
    """The hash `.venv` must carry: its inputs and its place (an environment can't be moved)."""
    digest = hashlib.sha256(str(repo).encode())
    for name in ("requirements.txt", "pyproject.toml"):
        path = repo / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def is_current(repo: Path) -> bool:
    """Whether `.venv` was made from what lies in `repo` now."""
    stamp = repo / ".venv" / ".stamp"
    python = repo / ".venv" / "bin" / "python"
    return python.exists() and stamp.is_file() and stamp.read_text().strip() == wanted_stamp(repo)


def is_usable(python: Path) -> bool:
    """Whether an interpreter starts, is supported and can install packages."""
    code = "import sys, pip; sys.exit(sys.version_info[:2] not in %r)" % (SUPPORTED,)  # noqa: UP031
    try:
        done = subprocess.run(
            [str(python), "-c", code], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return done.returncode == 0


def make(repo: Path) -> None:
    """Bring `.venv` up to date; the stamp is written last, so an interrupted install starts again."""
    folder = repo / ".venv"
    python = folder / "bin" / "python"
    (folder / ".stamp").unlink(missing_ok=True)
    if not is_usable(python):
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"making .venv with Python {version}", flush=True)
        if folder.exists():
            shutil.rmtree(folder)
        try:
            venv.create(folder, with_pip=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise SystemExit(
                f"Python {version} could not make a virtual environment ({error}). On Debian and Ubuntu: "
                f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            ) from error
    print("installing requirements.txt and recsys_lib into .venv (a minute or two)", flush=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["-r", "requirements.txt", "-e", "."]
    done = subprocess.run(command, check=False, cwd=repo, env={**os.environ, "PIP_NO_INPUT": "1"})
    if done.returncode != 0:
        raise SystemExit(
            "pip could not install the requirements (its message is above). Nothing is lost: "
            "run the same command again once the cause is gone; `make clean-env` starts from nothing."
        )
    (folder / ".stamp").write_text(wanted_stamp(repo) + "\n")


def main() -> None:
    if is_current(REPO):
        return
    if sys.version_info[:2] not in SUPPORTED:
        raise SystemExit("the book needs Python 3.11, 3.12 or 3.13, this is " + sys.version.split()[0])
    make(REPO)


if __name__ == "__main__":
    main()
