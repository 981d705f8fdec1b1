"""A class that starts a server in its enter hook, and is asked through the proxy."""

import subprocess
import sys
import urllib.request

import moorage

app = moorage.App("files")


@app.server(port=18432, max_concurrency=50, unauthenticated=True)
class Files:
    @moorage.enter()
    def start(self):
        command = [sys.executable, "-m", "http.server", "18432"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet)

    @moorage.exit()
    def stop(self):
        self.process.terminate()
        self.process.wait()


with app.run(), urllib.request.urlopen(Files.get_url()) as response:
    print(response.status, response.headers["Content-Type"])
