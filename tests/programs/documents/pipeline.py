"""Read all documents of a folder that the image carries, and write one report.

    modal run -w report.json pipeline.py
    modal run pipeline.py::Reader.read --path letters/ada.txt
"""

import json
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

import modal

HERE = Path(__file__).parent
ASSETS = Path("/assets")

image = (
    modal.Image.debian_slim()
    .apt_install("poppler-utils")
    .pip_install("pypdf==5.1.0", "markdown")
    .workdir("/root")
    .add_local_dir(HERE / "assets", remote_path="/assets")
    .add_local_file(HERE / "stopwords.txt", "/etc/pipeline/stopwords.txt")
)
app = modal.App("example-documents", image=image)


class UnreadableDocument(Exception):
    pass


@app.cls(cpu=1.0, max_containers=3, scaledown_window=30, retries=1)
class Reader:
    minimum: int = modal.parameter(default=1)

    @modal.enter()
    def load(self):
        self.stopwords = set(Path("/etc/pipeline/stopwords.txt").read_text().split())
        self.done = 0

    @modal.method()
    def read(self, path: str) -> Dict[str, Any]:
        raw = (ASSETS / path).read_bytes()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableDocument(f"{path}: not UTF-8 at byte {error.start}") from error
        words = [word.strip(".,#-").lower() for word in text.split()]
        counts = Counter(word for word in words if word and word not in self.stopwords)
        self.done += 1
        return {
            "path": path,
            "words": sum(counts.values()),
            "top": [word for word, n in counts.most_common(1) if n >= self.minimum],
        }

    @modal.exit()
    def finish(self):
        print(f"a reader read {'some' if self.done else 'no'} documents")


@app.function()
def list_documents() -> List[str]:
    paths = [path for path in ASSETS.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(ASSETS)) for path in paths)


@app.local_entrypoint()
def main(minimum: int = 1) -> str:
    paths = list_documents.remote()
    print(f"{len(paths)} documents")
    documents, errors = [], []
    results = Reader(minimum=minimum).read.map(
        paths, order_outputs=False, return_exceptions=True, wrap_returned_exceptions=False
    )
    for result in results:
        if isinstance(result, UnreadableDocument):
            errors.append(str(result))
        elif isinstance(result, Exception):
            raise result
        else:
            documents.append(result)
    report = {
        "documents": sorted(documents, key=lambda document: document["path"]),
        "errors": errors,
        "words": sum(document["words"] for document in documents),
        "year": datetime.now(timezone.utc).year,
    }
    print(f"{len(documents)} read, {len(errors)} unreadable")
    return json.dumps(report, indent=2)
