"""A volume that one function writes to, and another reads."""

import io

import moorage

app = moorage.App("reports")
reports = moorage.Volume.from_name("reports", create_if_missing=True)


@app.function()
def write(day: str, total: int) -> None:
    with reports.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(f"total {total}".encode()), f"/{day}/report.txt")


@app.function()
def read(day: str) -> str:
    return b"".join(reports.read_file(f"{day}/report.txt")).decode()


if __name__ == "__main__":
    with app.run():
        write.remote("monday", 3)
        print(read.remote("monday"))
    print([entry.path for entry in reports.iterdir("/")])
    print((reports.local_path / "monday" / "report.txt").read_text())
