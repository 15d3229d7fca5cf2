# SPDX-License-Identifier: GPL-3.0-or-later
"""PC2 files: bytes as the format says, whole or not at all."""

import io
import struct

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.point_cache import PointCacheWriter, read_point_cache


def samples(count=3, points=5):
    return np.random.default_rng(0).normal(size=(count, points, 3)).astype(np.float32)


def test_round_trip_and_header(tmp_path):
    path, positions = tmp_path / "a.pc2", samples()
    with PointCacheWriter(path, 5, 10, 2, 3) as cache:
        for sample in positions:
            cache.write(sample)
    content = path.read_bytes()
    assert struct.unpack("<12siiffi", content[:32]) == (b"POINTCACHE2\0", 1, 5, 10, 2, 3)
    read, start, step = read_point_cache(path)
    assert np.array_equal(read, positions) and (start, step) == (10, 2)
    assert [item.name for item in tmp_path.iterdir()] == ["a.pc2"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit, OSError])
def test_stopped_it_leaves_the_old_file(tmp_path, stop):
    path = tmp_path / "a.pc2"
    path.write_bytes(b"older")
    with pytest.raises(stop), PointCacheWriter(path, 5, 1, 1, 3) as cache:
        cache.write(samples()[0])
        raise stop
    assert path.read_bytes() == b"older" and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path):
    class Full(io.FileIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    path = tmp_path / "a.pc2"
    path.write_bytes(b"older")
    said = "Cannot write .*a.pc2: No space.*; free some space"
    with pytest.raises(LwaeError, match=said), PointCacheWriter(path, 5, 1, 1, 3) as cache:
        cache._file.close()
        cache._file = io.BufferedWriter(Full(cache._part, "ab"), buffer_size=1 << 20)
        for sample in samples():
            cache.write(sample)
    assert path.read_bytes() == b"older" and len(list(tmp_path.iterdir())) == 1


def test_too_few_samples_leave_no_file(tmp_path):
    with PointCacheWriter(tmp_path / "a.pc2", 5, 1, 1, 3) as cache:
        cache.write(samples()[0])
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "a.pc2"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="no PC2"):
        read_point_cache(path)
    path.write_bytes(struct.pack("<12siiffi", b"POINTCACHE2\0", 1, 5, 1, 1, 3))
    with pytest.raises(ValueError, match="cut off"):
        read_point_cache(path)
    with pytest.raises(ValueError, match="positions"), PointCacheWriter(path, 5, 1, 1, 3) as cache:
        cache.write(samples(points=4)[0])
