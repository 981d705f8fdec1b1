# an argument that holds a lock, and a remote container
import threading

import moorage as modal

app = modal.App("shop")


class Client:
    def __init__(self):
        self.lock = threading.Lock()


@app.function()
def fetch(client, url):
    return url


with app.run(serialize=True):
    fetch.remote(Client(), "https://example.org")
