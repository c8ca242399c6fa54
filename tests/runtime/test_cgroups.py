"""A container's memory limit is seen, whichever version of cgroups sets it and at whatever level."""

from longtail.runtime.cgroups import memory_left


def _group(folder, limit, usage, files, stat="cache 0\n"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(files, (limit, usage), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(stat)


V2, V1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_version_2_limit_of_a_parent_counts_and_cached_files_do_not(tmp_path):
    _group(tmp_path / "pod", 1000, 700, V2, "inactive_file 250\n")
    _group(tmp_path / "pod" / "job", "max", 600, V2)
    own = tmp_path / "own"
    own.write_text("0::/pod/job\n")
    assert memory_left(5000, tmp_path, own) == 550


def test_version_1_limit_of_the_mounts_root_counts(tmp_path):
    _group(tmp_path / "memory", 2000, 1500, V1, "inactive_file 1\ntotal_inactive_file 100\n")
    own = tmp_path / "own"
    own.write_text("9:name=systemd:/\n4:memory:/elsewhere/abc\n")
    assert memory_left(5000, tmp_path, own) == 600


def test_without_a_limit_all_that_is_available_is_left(tmp_path):
    _group(tmp_path / "memory", 2**63 - 4096, 123, V1)
    assert memory_left(5000, tmp_path, tmp_path / "none") == 5000
