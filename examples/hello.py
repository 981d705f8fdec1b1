"""Ten lines that do something real: hash every file of a folder, eight at a time."""

import hashlib
import sys
from pathlib import Path

import moorage

app = moorage.App("hashes")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=8)
def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


with app.run():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path, hexdigest in zip(files, digest.map(files), strict=True):
        print(hexdigest[:16], path.name)
