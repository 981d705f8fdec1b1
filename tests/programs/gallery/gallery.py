"""A server of another program behind Modal: the pictures of a folder, with their sizes.

    modal serve gallery.py
"""

import subprocess
from pathlib import Path

import modal

PORT = 18741
HERE = Path(__file__).parent

image = (
    modal.Image.debian_slim()
    .apt_install("libjpeg-dev")
    .env({"GALLERY_TITLE": "Harbour"})
    .add_local_dir(HERE / "pictures", "/pictures")
    .add_local_file(HERE / "server.py", "/root/server.py")
)

app = modal.App("gallery", image=image)


@app.function(gpu="A10G", cpu=2, scaledown_window=120, timeout=600)
@modal.concurrent(max_inputs=50)
@modal.web_server(PORT, startup_timeout=30)
def gallery():
    cmd = ["python", "/root/server.py", "--port", str(PORT), "--folder", "/pictures"]
    print(*cmd, flush=True)
    subprocess.Popen(" ".join(cmd), shell=True)
