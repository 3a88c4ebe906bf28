"""Images in a file, decoded by a real local Ray."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from distributed.data import loader, localize, ray_data, scratch
from distributed.data.loader import Loader
from folds.config import Config, DataConfig
from folds.errors import UserError
from folds.files import cache_folder
from folds.images import load, pixelfile
from tests.distributed.test_end_to_end import environment, python
from tests.folds.images.encodings import encoded, marked, png16, turned


def draw(root, counts, sizes=((20, 20),)):
    """A folder of class folders with noise in PNG files."""
    rng = np.random.default_rng(0)
    for label, count in enumerate(counts):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(count):
            height, width = sizes[number % len(sizes)]
            noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / f"class{label}" / f"{number:03d}.png")
    return root


@pytest.fixture
def data(tmp_path):
    return draw(tmp_path / "data", (30, 18, 12))


@pytest.fixture
def make_loader(tmp_path):
    made = []

    def make(mode="on", **settings):
        settings = {"stream": mode, "stream_dir": str(tmp_path / "scratch"), **settings}
        config = Config.from_flat(settings).cluster
        made.append(Loader(config, lambda: None, lambda line: None))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.usefixtures("local_ray")
class TestFolder:
    @pytest.mark.parametrize("settings", [{}, {"limit": 17}, {"image_size": 12}])
    def test_is_the_same_as_in_memory(self, data, make_loader, monkeypatch, settings):
        monkeypatch.setattr(ray_data, "_BLOCK", 8000)  # some six images
        config = DataConfig(data=str(data), **settings)
        memory = load(config, seed=5, largest=64)
        stored = make_loader()(config, seed=5, largest=64)
        assert isinstance(stored.pixels, localize.NodeFile)
        np.testing.assert_array_equal(stored.pixels[:], memory.pixels)
        for name in ("ids", "labels", "groups"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(memory, name))
        assert stored.digest == memory.digest
        assert stored.notices == memory.notices

    def test_mixed_sizes_are_the_same_too(self, tmp_path, make_loader):
        root = draw(tmp_path / "mixed", (6, 6), ((20, 20), (31, 18), (9, 14)))
        config = DataConfig(data=str(root))
        memory = load(config, seed=0, largest=16)
        assert make_loader()(config, seed=0, largest=16).digest == memory.digest

    def test_awkward_encodings_are_the_same_too(self, tmp_path, make_loader):
        root = draw(tmp_path / "set", (3, 3), ((20, 20), (31, 18)))
        (root / "class0" / "turned.tif").write_bytes(turned(marked().convert("L"), 6, "TIFF"))
        (root / "class0" / "turned.jpg").write_bytes(turned(marked().resize((40, 30)), 8))
        (root / "class1" / "clear.png").write_bytes(encoded(marked().convert("LA")))
        deep = np.random.default_rng(0).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
        (root / "class1" / "deep.png").write_bytes(png16(deep))
        config = DataConfig(data=str(root), levels=4095)
        memory = load(config, seed=0, largest=16)
        assert make_loader()(config, seed=0, largest=16).digest == memory.digest

    def test_broken_files_are_named_or_left_out_as_in_memory(self, data, make_loader, monkeypatch):
        monkeypatch.setattr(ray_data, "_BLOCK", 8000)
        for name in ("class0/004.png", "class1/000.png"):
            content = (data / name).read_bytes()
            (data / name).write_bytes(content[:500])  # the header is whole
        messages = []
        for bring in (load, make_loader()):
            with pytest.raises(UserError) as caught:
                bring(DataConfig(data=str(data)), seed=0, largest=64)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        assert "2 of 60 image files cannot be read (class0/004.png, class1/000.png)" in messages[0]
        config = DataConfig(data=str(data), skip_broken=True)
        memory, stored = (bring(config, seed=0, largest=64) for bring in (load, make_loader()))
        assert len(stored) == 58
        assert stored.digest == memory.digest
        assert stored.notices == memory.notices

    def test_a_table_is_the_same_as_in_memory(self, data, make_loader, monkeypatch, tmp_path):
        monkeypatch.setattr(ray_data, "_BLOCK", 8000)
        files = sorted(data.rglob("*.png"))
        broken = files[5]
        broken.write_bytes(broken.read_bytes()[:500])
        lines = [f"data/{f.relative_to(data)},{f.parent.name},{f.stem[:2]}" for f in files[::-1]]
        (tmp_path / "images.csv").write_text("\n".join(["path,label,group", *lines]))
        config = DataConfig(data=str(tmp_path / "images.csv"), limit=41, skip_broken=True)
        memory, stored = (bring(config, seed=5, largest=64) for bring in (load, make_loader()))
        assert isinstance(stored.pixels, localize.NodeFile)
        for name in ("ids", "labels", "groups"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(memory, name))
        assert len(set(stored.groups)) == 3
        assert stored.digest == memory.digest
        assert stored.notices == memory.notices

    def test_the_file_goes_when_the_run_ends(self, data, make_loader, tmp_path):
        one = make_loader()
        images = one(DataConfig(data=str(data)), seed=0, largest=64)
        assert images.pixels.path.exists()
        one.close()
        assert not list((tmp_path / "scratch").glob("run-*"))

    def test_a_disk_too_small_is_refused(self, data, make_loader, monkeypatch):
        usage = loader.shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(loader.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(UserError, match=r"--stream-dir .* name a folder on a larger disk"):
            make_loader()(DataConfig(data=str(data)), seed=0, largest=64)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("source", ["digits", "npz"])
def test_other_sources_are_the_same_too(source, make_loader, make_problem, tmp_path):
    if source == "npz":
        images = make_problem().images
        source = str(tmp_path / "set.npz")
        np.savez_compressed(source, images=images.pixels, labels=images.labels)
    config = DataConfig(data=source, limit=40)
    stored = make_loader()(config, seed=1, largest=16)
    assert isinstance(stored.pixels, localize.NodeFile)
    assert stored.digest == load(config, seed=1, largest=16).digest


class TestAuto:
    def test_off_and_small_sets_stay_in_memory_and_need_no_ray(self, data, make_loader):
        for mode in ("off", "auto"):
            images = make_loader(mode)(DataConfig(data=str(data)), seed=0, largest=64)
            assert isinstance(images.pixels, np.ndarray)

    @pytest.mark.parametrize(("spare", "kept"), [(-1, localize.NodeFile), (0, np.ndarray)])
    @pytest.mark.parametrize("limit", ["memory", "most"])
    def test_a_large_set_goes_to_a_file(
        self, local_ray, data, make_loader, monkeypatch, spare, kept, limit
    ):
        nbytes = 60 * 20 * 20 * 3
        if limit == "memory":
            free = round(nbytes / loader.SHARE) + spare
            monkeypatch.setattr(loader, "available_memory", lambda: free)
        else:
            monkeypatch.setattr(loader, "MOST", nbytes + spare)
        images = make_loader("auto")(DataConfig(data=str(data)), seed=0, largest=64)
        assert isinstance(images.pixels, kept)


@pytest.mark.usefixtures("local_ray")
def test_another_machine_fetches_the_file_once(make_loader, make_problem, tmp_path, monkeypatch):
    monkeypatch.setattr(pixelfile, "_PIECE", 5000)  # many pieces
    images = make_loader()(DataConfig(data="digits", limit=50), seed=0, largest=64)
    problem = make_problem(images=images)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert localize.localize(problem) is problem
    monkeypatch.setattr(localize, "_here", lambda: "another node")
    copied = localize.localize(problem).images
    assert copied.pixels.path.is_relative_to(tmp_path / "there")
    assert copied.digest == images.digest
    before = copied.pixels.path.stat().st_mtime_ns
    again = localize.localize(problem).images.pixels
    assert again.path == copied.pixels.path
    assert again.path.stat().st_mtime_ns == before


def test_folders_of_the_living_stay_and_those_of_the_dead_go(tmp_path):
    mine = scratch.new(tmp_path)
    dead = tmp_path / "run-dead"
    dead.mkdir()
    (dead / "in-use").touch()
    (tmp_path / "photos").mkdir()
    other = subprocess.run(
        [sys.executable, "-c", "import sys; from pathlib import Path; from distributed.data import "
         "scratch; print(scratch.new(Path(sys.argv[1])))", str(tmp_path)],
        capture_output=True, text=True, check=True, env=environment(),
    )  # fmt: skip
    assert mine.exists()
    assert not dead.exists()
    assert (tmp_path / other.stdout.strip()).exists()
    scratch.new(tmp_path)
    assert not (tmp_path / other.stdout.strip()).exists()
    assert (tmp_path / "photos").exists()


def test_a_scratch_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--stream-dir .*file: .*; name a folder"):
        scratch.new(tmp_path / "file")


BUDGET_MB, SIDE, COUNT = 100, 224, 2700  # 400 MB decoded

BOUNDED = """
import re, sys
from pathlib import Path
import numpy as np, ray.data, torch
from distributed import cluster
from distributed.data.loader import Loader
from distributed.planning.plan import Resources
from folds.config import Config
from folds.training.loader import BatchLoader

def megabytes(name):
    found = re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024

cluster.set_environment(None)
cluster.start(None, Resources(2, 0, (2,)), verbose=False)
config = Config.from_flat({"data": sys.argv[1], "stream": sys.argv[2], "stream_dir": sys.argv[3]})
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
base = megabytes("VmRSS")
loader = Loader(config.cluster, lambda: None, lambda line: None)
images = loader(config.data, seed=0, largest=1024)
images.digest
batches = BatchLoader(images.pixels, torch.device("cpu")).batches
order = np.random.default_rng(0).permutation(len(images))
for rows, pixels in batches(np.array_split(order, len(images) // 32)):
    assert len(rows) == len(pixels)
loader.close()
print("grown by", megabytes("VmHWM") - base, "for", images.pixels.nbytes / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_four_times_the_memory_budget_stays_within_it(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        folder = tmp_path / "data" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE)).save(folder / f"{number:05d}.jpg")
    grown = {}
    for mode in ("on", "off"):
        argv = [sys.executable, "-c", BOUNDED, str(tmp_path / "data"), mode, str(tmp_path / "s")]
        ran = subprocess.run(argv, capture_output=True, text=True, env=environment(), timeout=500)
        assert ran.returncode == 0, ran.stderr
        found = re.search(r"grown by (\S+) for (\S+)", ran.stdout)
        grown[mode] = float(found[1])
        assert float(found[2]) > 3.8 * BUDGET_MB
    assert grown["on"] < BUDGET_MB < grown["off"]


JOB = [
    "--folds", "2", "--backbone", "test_resnet", "--weights", "none", "--batch-size", "16",
    "--stages", "1:2:1e-3", "--precision", "fp32", "--compile", "off",  # not what is measured
]  # fmt: skip


def same_predictions(one, two):
    one, two = np.load(one / "oof.npz"), np.load(two / "oof.npz")
    return all((one[name] == two[name]).all() for name in one.files)


@pytest.mark.slow
def test_the_whole_job_is_the_same_and_leaves_nothing(tmp_path):
    data = draw(tmp_path / "data", (40, 40))
    for mode in ("on", "off"):
        ran = python(
            tmp_path, "distributed.cv", "--data", str(data), *JOB,
            "--stream", mode, "--stream-dir", "scratch", "--output", mode,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        assert ("images are kept in" in ran.stdout) == (mode == "on")
    assert same_predictions(tmp_path / "on", tmp_path / "off")
    assert not list((tmp_path / "scratch").glob("run-*"))


TWO_NODES = """
import subprocess, sys
from distributed.cluster import set_environment

set_environment("a cluster")
from ray.cluster_utils import Cluster

head, worker = ({"XDG_CACHE_HOME": f"{sys.argv[1]}/{name}"} for name in ("head", "worker"))
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "env_vars": head})
cluster.add_node(num_cpus=2, env_vars=worker)
job = [sys.executable, "-m", "distributed.cv", "--address", cluster.address, *sys.argv[2:]]
status = subprocess.run(["env", *(f"{k}={v}" for k, v in head.items()), *job]).returncode
cluster.shutdown()
sys.exit(status)
"""


@pytest.mark.slow
def test_a_machine_without_the_images_trains_the_same(tmp_path):
    """The head has the images and no core, the worker a core and no images."""
    data = draw(tmp_path / "data", (40, 40))
    plain = python(
        tmp_path, "distributed.cv", "--data", str(data), *JOB, "--stream", "off", "--output", "off"
    )
    assert plain.returncode == 0, plain.stderr
    if (measured := cache_folder() / "probe").exists():  # the layout, which shall be the same
        for node in ("head", "worker"):
            shutil.copytree(measured, tmp_path / node / "crossfold" / "probe")
    argv = ["--data", str(data), *JOB, "--stream", "on", "--output", "on"]
    ran = subprocess.run(
        [sys.executable, "-c", TWO_NODES, str(tmp_path), *argv],
        cwd=tmp_path, capture_output=True, text=True, env=environment(), timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert same_predictions(tmp_path / "on", tmp_path / "off")
    for node in ("head", "worker"):
        left = {path.name for path in (tmp_path / node / "crossfold").iterdir()}
        assert left - {"audit", "probe"} == {"lock"}  # what is remembered may stay
