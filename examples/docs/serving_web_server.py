"""A server program behind a web function: moorage starts it, waits for its port, and ends it."""

import subprocess
import sys
import urllib.request

import moorage

app = moorage.App("files")
PORT = 18431


@app.function()
@moorage.concurrent(max_inputs=10)
@moorage.web_server(PORT, startup_timeout=20)
def files():
    command = [sys.executable, "-m", "http.server", str(PORT)]
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


with app.run(), urllib.request.urlopen(files.get_web_url()) as response:
    print(response.status, response.headers["Content-Type"])
