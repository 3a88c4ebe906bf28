import subprocess
import sys
from pathlib import Path

import distributed

PACKAGE = Path(distributed.__file__).parent


def run_with_dask(folder, *, version="2026.1"):
    """Import our package from a folder into which dask's was installed as well."""
    (folder / "distributed").mkdir()
    (folder / "distributed" / "__init__.py").write_text((PACKAGE / "__init__.py").read_text())
    (folder / "folds").symlink_to(PACKAGE.parent / "folds")
    info = folder / f"distributed-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: distributed\nVersion: {version}\n"
    )
    return subprocess.run(
        [sys.executable, "-c", "import distributed"], cwd=folder, capture_output=True, text=True
    )


def test_dask_in_the_same_folder_is_refused_in_one_line(tmp_path):
    done = run_with_dask(tmp_path)
    assert done.returncode == 1
    assert "dask's package 'distributed' 2026.1" in done.stderr
    assert "environment of its own" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_alone_it_imports():
    assert distributed.__doc__ is not None
