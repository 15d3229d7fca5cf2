# SPDX-License-Identifier: GPL-3.0-or-later
import struct

from backend.blend_file import is_whole


def test_a_cut_file_is_no_whole_one(tmp_path):
    frames = [b"\x28\xb5\x2f\xfd" + bytes(size) for size in (100, 7)]
    table = b"".join(struct.pack("<II", len(frame), 1 << 20) for frame in frames)
    table += struct.pack("<IBI", 2, 0, 0x8F92EAB1)
    content = b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table
    path = tmp_path / "a.blend"
    path.write_bytes(content)
    assert is_whole(path)
    for damaged in (b"", content[:-1], content[:50], content[4:], content[:60] + content[70:], bytes(len(content))):
        path.write_bytes(damaged)
        assert not is_whole(path)
