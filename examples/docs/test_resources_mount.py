"""A function finds its volume at a path that leads to the directory of the volume."""

import os
from pathlib import Path

import pytest

import moorage
from moorage.exception import InvalidError


def test_a_function_finds_its_volume_at_its_path(tmp_path: Path) -> None:
    app = moorage.App("reader")
    volume = moorage.Volume.from_name("models", create_if_missing=True)
    (volume.local_path / "weights.bin").write_bytes(b"123")
    path = tmp_path / "models"  # "/models" in a real program

    @app.function(volumes={path: volume})
    def look() -> list[str]:
        return os.listdir(path)

    with app.run():
        with pytest.raises(InvalidError, match="local_path"):
            look.remote()  # nothing is at the path
        path.symlink_to(volume.local_path)
        assert look.remote() == ["weights.bin"]
